import bz2
import contextlib
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace

import pytest

from ckptfmt.errors import SourceError, UnsafeSource
from ckptfmt.format.safetensors import build_header
from ckptfmt.legacy.open import Source, read

VALUES = [1.0, -2.0, 3.5]
COPY = "copy or download it again"
WEIGHTS = "give the file of weights that PyTorch saved"


@pytest.fixture
def saved(tmp_path):
    def save(data: bytes, name: str = "model.pth"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return save


def refusal(path, **options) -> str:
    with pytest.raises(SourceError) as error:
        read(path, **options)
    assert error.value.code.startswith("source.")
    assert error.value.code != "source.unforeseen"
    return str(error.value).removeprefix(f"{path}: ")


def found(path) -> tuple[str, list[float]]:
    with read(path) as file:
        return file.container, file.members[""]["w"].numbers()


PLAIN = {"torch-zip": "torch_zip", "torch-stream": "stream", "torch-tar": "torch_tar"}
PACKINGS = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("name", ["model.pth", "model.zip", "model.tar", "model.gz", "model"])
@pytest.mark.parametrize("container", PLAIN)
def test_a_file_is_told_by_its_bytes_and_not_by_its_name(make, saved, container, name):
    assert found(saved(getattr(make, PLAIN[container])(VALUES), name)) == (container, VALUES)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("container", PLAIN)
def test_a_packed_file_is_unpacked_once(make, saved, container, packing):
    packed = PACKINGS[packing](getattr(make, PLAIN[container])(VALUES))
    assert found(saved(packed)) == (f"{packing}+{container}", VALUES)
    for again in PACKINGS.values():
        twice = "is packed more than once; unpack it and give the checkpoint in it"
        assert refusal(saved(again(packed))) == twice


def test_a_tar_around_one_checkpoint_is_looked_into(make, saved):
    tar = make.tar([("run/log.txt", b"hello"), ("run/model.pth", make.torch_zip(VALUES))])
    assert found(saved(tar)) == ("tar+torch-zip", VALUES)
    assert found(saved(gzip.compress(tar))) == ("gzip+tar+torch-zip", VALUES)
    two = make.tar([("a", make.torch_zip()), ("b", make.stream())])
    assert refusal(saved(two)) == "is a tar archive with 2 checkpoints in it; unpack it and give one of its files"
    none = make.tar([("a", b"text")])
    assert refusal(saved(none)) == "is a tar archive without a checkpoint in it; unpack it and give one of its files"


def test_deflated_unaligned_and_bare_archives_of_torch_are_read(make, saved):
    records = make.torch_records(VALUES)
    assert found(saved(make.zip(records))) == ("torch-zip", VALUES)
    assert found(saved(make.zip([replace(rec, method=8) for rec in records]))) == ("torch-zip", VALUES)
    assert found(saved(make.zip(make.torch_records(VALUES, root="my run")))) == ("torch-zip", VALUES)
    assert found(saved(make.zip(records[:2]))) == ("torch-zip", VALUES)


def test_the_byte_order_record_is_obeyed(make, saved):
    big = make.Rec("archive/byteorder", b"big")
    records = make.torch_records(VALUES)
    records[1].data = struct.pack(">3f", *VALUES)
    assert found(saved(make.zip([*records, big]))) == ("torch-zip", VALUES)
    odd = replace(big, data=b"middle")
    assert refusal(saved(make.zip([*records, odd]))).startswith("has the byte order b'middle'; re-save it")


def test_torchscript_archives_give_their_object_and_nothing_of_them_runs(make, saved):
    code = make.Rec("archive/code/__torch__.py", b"import os")
    constants = make.Rec("archive/constants.pkl", b"\x80\x02cos\nsystem\n(X\x02\0\0\0idtR.")
    path = saved(make.zip([*make.torch_records(VALUES), code, constants]))
    assert found(path) == ("torchscript-zip", VALUES)


def test_every_network_of_a_stable_baselines_archive_is_read_and_its_data_never(make, saved):
    records = [
        make.Rec("data", json.dumps({"policy_class": {":serialized:": "gASV"}}).encode()),
        make.Rec("policy.optimizer.pth", make.torch_zip([5.0])),
        make.Rec("policy.pth", make.torch_zip(VALUES)),
        make.Rec("pytorch_variables.pth", make.stream([7.0])),
    ]
    with read(saved(make.zip(records))) as file:
        assert file.container == "sb3-zip"
        members = {name: member["w"].numbers() for name, member in file.members.items()}
    assert members == {"policy.pth": VALUES, "policy.optimizer.pth": [5.0], "pytorch_variables.pth": [7.0]}
    assert next(iter(members)) == "policy.pth"


def test_an_error_inside_a_member_names_it(make, saved):
    evil = make.torch_records()
    evil[0].data = b"\x80\x02cos\nsystem\n(X\x02\0\0\0idtR."
    records = [make.Rec("data", b"{}"), make.Rec("policy.pth", make.zip(evil))]
    what = "policy.pth: data.pkl: refused, its pickle calls os.system; nothing was run"
    assert refusal(saved(make.zip(records))) == what
    other = [make.Rec("data", b"{}"), make.Rec("policy.pth", b"\x80\x02K\x01.")]
    assert refusal(saved(make.zip(other))) == f"policy.pth: is not a file of torch; {WEIGHTS}"
    script = [*make.torch_records(), make.Rec("archive/constants.pkl", b"")]
    other = [make.Rec("data", b"{}"), make.Rec("policy.pth", make.zip(script))]
    assert refusal(saved(make.zip(other))) == f"policy.pth: is not a file of torch.save; {WEIGHTS}"


def test_safetensors_files_are_read(saved):
    header, _ = build_header([("w", "F32", (3,)), ("n", "I64", ())], {"note": "x"})
    path = saved(header + struct.pack("<q3f", 9, *VALUES))
    with read(path) as file:
        assert file.container == "safetensors"
        assert file.members[""]["w"].numbers() == VALUES
        assert file.members[""]["n"].numbers() == [9]
        assert file.members["__metadata__"] == {"note": "x"}
    cut = saved(path.read_bytes()[:-1])
    assert refusal(cut) == "is truncated: its tensors take 20 bytes, the file has 19; copy it again or re-save it"


def test_a_plain_pickle_is_read(saved):
    path = saved(pickle.dumps({"w": [1, 2.5, "x"]}, protocol=4))
    with read(path) as file:
        assert (file.container, file.members[""]) == ("pickle", {"w": [1, 2.5, "x"]})
        assert file.source.pickle_protocol == 4
    assert refusal(saved(path.read_bytes() + b"evil")) == (
        "has 4 bytes behind the end of its pickle; re-save it with the program that wrote it"
    )


def test_the_source_is_described(make, saved):
    data = make.torch_zip(VALUES)
    path = saved(data)
    with read(path) as file:
        assert file.source == Source(
            name="model.pth",
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            container="torch-zip",
            pickle_protocol=2,
            globals=("torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "collections.OrderedDict"),
        )


NO_CHECKPOINT = {
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive, not a checkpoint; unpack it and give the checkpoint in it",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd, not a checkpoint; unpack it and give the checkpoint in it",
    b"GGUF\3\0\0\0": f"is a GGUF file of a language model, not a checkpoint; {WEIGHTS}",
    b"\x93NUMPY\1\0": "is a single NumPy array, not a checkpoint; save the arrays of a network with numpy.savez",
    b"\x7fELF": f"is a program, not a checkpoint; {WEIGHTS}",
    b"\x1c\0\0\0TFL3": f"is a TensorFlow Lite model, not a checkpoint; {WEIGHTS}",
    b"\x08\x07\x12\x07pytorch": f"is an ONNX model, which is not read here; {WEIGHTS}",
    b"model_checkpoint_path: x": f"is part of a TensorFlow checkpoint, which is not read here; {WEIGHTS}",
    bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb": (
        f"is part of a TensorFlow checkpoint, which is not read here; {WEIGHTS}"
    ),
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 6769733\n": (
        "is a Git LFS pointer, the checkpoint itself was not fetched; run: git lfs pull"
    ),
    b"\n<!DOCTYPE html><html>": "is a web page, saved in the place of a checkpoint; download the file itself",
    b'<?xml version="1.0"?>': "is a web page, saved in the place of a checkpoint; download the file itself",
    b"import torch\n": f"is text, not a checkpoint; {WEIGHTS}",
    b'{"lr": 0.1}': f"is text, not a checkpoint; {WEIGHTS}",
    "été".encode() * 1000: f"is text, not a checkpoint; {WEIGHTS}",
    bytes(range(255, 0, -1)): f"is no file that PyTorch, NumPy or pickle wrote; {WEIGHTS}",
    bytes(4096): f"begins with nothing but zero bytes; {COPY}",
    b"": f"is empty; {COPY}",
}


@pytest.mark.parametrize("data", NO_CHECKPOINT, ids=lambda data: repr(data[:12]))
def test_what_is_no_checkpoint_is_named(saved, data):
    assert refusal(saved(data)) == NO_CHECKPOINT[data]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["word/document.xml"], "is a zip archive, but no checkpoint: it has no data.pkl (document.xml)"),
        ([], "is a zip archive, but no checkpoint: it has no data.pkl (nothing)"),
        (["m/archive_format", "m/x"], "is a program of torch.export, which is not read here"),
        (["a/data.pkl", "b/data.pkl"], "has 2 records named data.pkl"),
        (["a/data.pkl", "a/x/DATA.PKL"], "has 2 records named data.pkl"),
        (["a/data.pkl", "b/x"], "has records outside of one folder with data.pkl in it"),
        (["data.pkl"], "has records outside of one folder with data.pkl in it"),
        (["a/b/data.pkl"], "has records outside of one folder with data.pkl in it"),
    ],
    ids=str,
)
def test_a_zip_that_is_no_checkpoint_is_named(make, saved, names, sentence):
    assert refusal(saved(make.zip([make.Rec(name, b"") for name in names]))).partition(";")[0] == sentence


def test_a_zip_behind_something_else_is_refused(make, saved):
    assert refusal(saved(b"junk" + make.torch_zip())).startswith("has 4 bytes in front of its zip archive;")
    assert refusal(saved(make.stream() + make.torch_zip())).endswith("re-save it with the program that wrote it")


@pytest.mark.parametrize("record", range(3))
def test_a_damaged_record_is_named(make, saved, record):
    records = make.torch_records(VALUES)
    records[record].crc = 1
    sentence = f"the record {records[record].name} does not match its CRC-32: the file is damaged; {COPY}"
    assert refusal(saved(make.zip(records))).removeprefix("data.pkl: ") == sentence
    assert refusal(saved(gzip.compress(make.zip(records)))).removeprefix("data.pkl: ") == sentence


def test_a_damaged_record_inside_a_member_is_named(make, saved):
    inner = make.torch_records(VALUES)
    inner[1].crc = 1
    path = saved(make.zip([make.Rec("data", b""), make.Rec("policy.pth", make.zip(inner))]))
    assert "the record archive/data/0 does not match its CRC-32" in refusal(path)
    outer = make.zip([make.Rec("data", b"", crc=1), make.Rec("policy.pth", make.torch_zip())])
    assert "the record data does not match its CRC-32" in refusal(saved(outer))


def test_an_archive_without_checksums_is_read_with_a_warning(make, saved):
    records = [make.as_torch(rec.name, rec.data) for rec in make.torch_records(VALUES)]
    for rec in records:
        rec.crc, rec.descriptor = 0, rec.descriptor[:4] + bytes(4) + rec.descriptor[8:]
    with read(saved(make.zip(records))) as file:
        assert file.members[""]["w"].numbers() == VALUES
        assert [(w.code, w.message) for w in file.warnings] == [
            ("source.no-crc", "was written without checksums, so damage to it cannot be noticed")
        ]


def test_a_storage_that_is_missing_or_of_another_size_is_named(make, saved):
    records = make.torch_records(VALUES)
    damaged = "the file is damaged: copy or download it again"
    assert refusal(saved(make.zip([records[0], records[2]]))) == (
        f"data.pkl: the record archive/data/0 is missing from the archive; {damaged}"
    )
    for size in (11, 13):
        records[1].data = bytes(size)
        assert refusal(saved(make.zip(records))) == (
            f"data.pkl: its storage 0 has {size} bytes, its pickle says 12; copy it again or re-save it"
        )


@pytest.mark.parametrize("build", ["torch_zip", "stream", "torch_tar"])
def test_every_cut_of_a_file_is_refused(make, saved, build):
    data = getattr(make, build)(VALUES)
    last = len(data.rstrip(b"\0")) if build == "torch_tar" else len(data)
    for length in range(0, last, 7):
        assert refusal(saved(data[:length]))


def test_places_that_are_no_file_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert refusal(tmp_path / "socket").startswith("cannot be opened: No such device or address;")
    no_file = "is a pipe, a device or a socket, not a file; write it to a file first"
    assert refusal(tmp_path / "pipe") == no_file
    assert refusal("/dev/zero") == no_file
    assert refusal(tmp_path) == "is a folder, not a file; give one of the files in it"
    assert refusal(tmp_path / "missing") == "there is no such file; check the path"
    assert refusal("a\0b") == "a\\x00b: cannot be opened: embedded null byte; check the path and who may read it"
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "loop").startswith("cannot be opened: Too many levels of symbolic links;")


def test_a_link_to_a_file_is_followed(make, saved, tmp_path):
    (tmp_path / "link").symlink_to(saved(make.torch_zip(VALUES)))
    assert found(tmp_path / "link") == ("torch-zip", VALUES)
    assert found(str(tmp_path / "link").encode()) == ("torch-zip", VALUES)


def test_an_unsafe_file_is_refused_and_can_be_rescued(saved):
    path = saved(b"\x80\x02}(X\x01\0\0\0wcos\nsystem\n)Ru.")
    with pytest.raises(UnsafeSource):
        read(path)
    with read(path, allow_unsafe=True) as file:
        assert file.members[""]["w"].name == "os.system"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_is_refused(saved, pack):
    path = saved(pack(bytes(70 << 20)))
    assert refusal(path) == (
        "unpacks to more than 67,108,864 bytes, which no honest file of its size does; "
        "unpack it yourself if you trust it"
    )


def test_a_file_that_changes_while_it_is_read_is_noticed(make, saved):
    path = saved(make.torch_zip(VALUES))
    file = read(path)
    file.check_unchanged()
    os.utime(path, ns=(1, 1))
    with pytest.raises(SourceError) as error:
        file.check_unchanged()
    sentence = f"{path}: changed while it was read; let the writing program finish, then try again"
    assert str(error.value) == sentence
    with pytest.raises(SourceError, match="changed while it was read"), file:
        pass


def test_an_error_in_the_work_with_a_file_is_not_hidden(make, saved):
    path = saved(make.torch_zip(VALUES))
    with pytest.raises(FileNotFoundError), read(path):
        path.with_name("missing").rename(path)


def test_nothing_stays_open(make, saved):
    before = len(os.listdir("/proc/self/fd"))
    for data in (gzip.compress(make.torch_zip()), gzip.compress(b"text"), b"text", make.torch_zip()[:-1]):
        with contextlib.suppress(SourceError):
            read(saved(data)).close()
    assert len(os.listdir("/proc/self/fd")) == before


def big_file(make, path, *, damaged: bool = False) -> None:
    """A checkpoint of 20 MiB, beyond the size up to which a source is looked through at once."""
    count = 5 << 20
    data = struct.pack("<f", 1.5) * count
    records = [make.Rec("a/data.pkl", make.pickle({"w": ("0", (count,))})), make.Rec("a/data/0", data)]
    whole = bytearray(make.zip(records))
    if damaged:
        whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def test_a_large_file_is_looked_through_beside_the_work(make, tmp_path):
    path = tmp_path / "big.pth"
    big_file(make, path)
    with read(path) as file:
        assert sum(map(len, file.members[""]["w"].chunks())) == 20 << 20
        assert file.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_damage_to_a_large_file_is_told_before_the_work_counts(make, tmp_path):
    path = tmp_path / "big.pth"
    big_file(make, path, damaged=True)
    sentence = f"{path}: the record a/data/0 does not match its CRC-32: the file is damaged; {COPY}"
    for finish in (lambda file: file.source, lambda file: file.check_unchanged(), lambda file: None):
        with pytest.raises(SourceError) as error, read(path) as file:
            finish(file)
        assert (str(error.value), error.value.code) == (sentence, "source.crc")
    read(path).close()


def test_records_beyond_four_gigabytes_are_read(make, tmp_path):
    """A sparse file as torch lays it out: offsets and sizes in zip64 fields, descriptors of 24 bytes."""
    path, gap = tmp_path / "huge.pth", (4 << 30) + 100
    pickled = make.pickle({"w": ("0", (1,))})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
    front = out.getvalue()[: 30 + len("a/data.pkl") + len(pickled)]
    size = struct.pack("<2Q", gap, gap)
    hole = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0x808, 0, 0, 0, 0, 0, 0, 8, 20) + b"a/data/1"
    hole += struct.pack("<2H", 1, 16) + size
    last_at = len(front) + len(hole) + gap + 24
    value = struct.pack("<f", 2.5)
    tail = struct.pack("<4sL", b"PK\7\x08", 7) + size
    tail += make.zip([make.Rec("a/data/0", value)])[: 30 + 8 + 4]
    central = b""
    for name, crc, length, at in (
        (b"a/data.pkl", zlib.crc32(pickled), len(pickled), 0),
        (b"a/data/1", 7, gap, len(front)),
        (b"a/data/0", zlib.crc32(value), 4, last_at),
    ):
        wide = [n for n in (length, length, at) if n >= 0xFFFFFFFF]
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        flags = 0x808 if length == gap else 0
        narrow = [min(n, 0xFFFFFFFF) for n in (length, length, at)]
        central += struct.pack("<4s6H3L5H2L", b"PK\1\2", 0, 45, flags, 0, 0, 0, crc, *narrow[:2], len(name),
                               len(extra), 0, 0, 0, 0, narrow[2]) + name + extra  # fmt: skip
    start = last_at + 30 + 8 + 4
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 798, 45, 0, 0, 3, 3, len(central), start)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, start + len(central), 1)
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(central), 0xFFFFFFFF, 0)
    with path.open("wb") as out_file:
        out_file.write(front + hole)
        out_file.seek(gap, io.SEEK_CUR)
        out_file.write(tail + central + end)
    file = read(path)
    assert file.members[""]["w"].numbers() == [2.5]
    file.close()


def test_reading_imports_nothing_that_a_file_could_reach(make, saved):
    path = saved(make.torch_zip(VALUES))
    script = (
        "import sys; from ckptfmt.legacy.open import read\n"
        "with read(sys.argv[1]) as file: file.members['']['w'].numbers(), file.source\n"
        "print(sorted({'pickle', '_pickle', 'torch', 'numpy', 'subprocess', 'zipfile', 'tarfile'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script, path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
