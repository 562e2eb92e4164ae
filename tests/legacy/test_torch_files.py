"""Files that torch itself wrote: all of them are read, with the same bits."""

import io
import tarfile
import warnings
import zipfile

import pytest

from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.open import read

torch = pytest.importorskip("torch", reason="torch is not installed")


def tensors() -> dict[str, object]:
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    return {
        "plain": base,
        "transposed": base.transpose(0, 2),
        "view": base[:, 1, ::2],
        "expanded": torch.tensor(7.0).expand(3, 2),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "half": torch.linspace(-1, 1, 7).half(),
        "brain": torch.linspace(-1, 1, 7).bfloat16(),
        "flags": torch.tensor([True, False]),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "longs": torch.tensor([-(2**62), 2**62]),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "channels": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }


def same(found: LegacyTensor, wanted) -> bool:
    raw = wanted.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if wanted.numel() else b""
    return found.shape == tuple(wanted.shape) and b"".join(found.chunks()) == raw


def check(path, container: str, wanted: dict[str, object]) -> None:
    with read(path) as file:
        assert file.container == container
        assert file.warnings == ()
        found = file.members[""]
        assert list(found) == list(wanted)
        assert [name for name in wanted if not same(found[name], wanted[name])] == []


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(("new", "container"), [(True, "torch-zip"), (False, "torch-stream")])
def test_what_torch_saves_is_read_bit_for_bit(tmp_path, new, container, protocol):
    path, wanted = tmp_path / "model.pth", tensors()
    torch.save(wanted, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    check(path, container, wanted)
    with read(path) as file:
        assert file.source.pickle_protocol == protocol


def test_names_beyond_ascii_and_folders_in_them_are_read(tmp_path):
    path, wanted = tmp_path / "modèle — 最.best.pth", {"w": torch.ones(3)}
    torch.save(wanted, path)
    check(path, "torch-zip", wanted)


def test_an_archive_packed_again_is_read(tmp_path):
    path, wanted = tmp_path / "model.pth", tensors()
    torch.save(wanted, path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    check(tmp_path / "new", "torch-zip", wanted)


def test_a_tar_of_the_library_around_a_file_of_torch_is_read(tmp_path):
    path, wanted = tmp_path / "model.pth", tensors()
    torch.save(wanted, path)
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        with tarfile.open(tmp_path / "model.tar", mode) as archive:
            archive.add(path, "run/model.pth")
        packing = {"gz": "gzip+", "": ""}.get(mode[2:], f"{mode[2:]}+")
        check(tmp_path / "model.tar", f"{packing}tar+torch-zip", wanted)


def test_a_file_without_checksums_is_read_with_a_warning(tmp_path):
    if not hasattr(torch.serialization, "set_crc32_options"):
        pytest.skip("this torch always writes checksums")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "model.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    with read(tmp_path / "model.pth") as file:
        assert file.members[""]["w"].numbers() == [1, 1, 1]
        assert [warning.code for warning in file.warnings] == ["source.no-crc"]


def test_torch_reads_the_files_that_these_tests_build_as_we_do(make, tmp_path):
    for data in (make.torch_zip([1.0, 2.0]), make.stream([1.0, 2.0]), make.stream([1.0, 2.0], little=False)):
        (tmp_path / "model.pth").write_bytes(data)
        theirs = torch.load(io.BytesIO(data), weights_only=True)["w"].tolist()
        with read(tmp_path / "model.pth") as file:
            assert file.members[""]["w"].numbers() == theirs == [1.0, 2.0]
    (tmp_path / "old.tar").write_bytes(make.torch_tar([1.0, 2.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.load(tmp_path / "old.tar", weights_only=False)["w"].tolist() == [1.0, 2.0]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)
        self.register_buffer("support", torch.linspace(-10, 10, 5))

    def forward(self, x):
        return self.fc(x) + self.support[:2]


def test_a_torchscript_archive_gives_its_tensors(tmp_path):
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net), tmp_path / "net.pt")
    with read(tmp_path / "net.pt") as file:
        assert file.container == "torchscript-zip"
        state = file.members[""].state
        assert same(state["support"], net.support)
        assert same(state["fc"].state["weight"], net.fc.weight)


def test_a_whole_module_gives_its_tensors(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(3, 2))
    for new in (True, False):
        torch.save(net, tmp_path / "net.pt", _use_new_zipfile_serialization=new)
        with read(tmp_path / "net.pt") as file:
            linear = file.members[""].state["_modules"]["0"]
            assert same(linear.state["_parameters"]["weight"], net[0].weight)
