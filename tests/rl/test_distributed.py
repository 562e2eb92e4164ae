"""Folders that torch.distributed.checkpoint wrote are read to the bit, and it reads the ones that are exported."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter, format_utils

import ckptfmt
from ckptfmt.convert.convert import convert
from ckptfmt.errors import SourceError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.sharded import open_source
from ckptfmt.share.export import export

from .sharding import tensors

CONFIG = ModelConfig(n_action=4, dueling_dqn=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("sharding.py")
    subprocess.run([sys.executable, script, path], check=True, capture_output=True, timeout=120)
    return path


def bits(tensor: "torch.Tensor") -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


@pytest.mark.parametrize("kind", ["classic", "many", "shards"])
def test_what_ranks_saved_is_joined_to_the_bit(folder: Path, kind: str) -> None:
    with open_source(folder / kind) as source:
        found = source.members[""] if kind == "shards" else source.members[""]["model"]
        assert found.keys() == tensors().keys()
        for name, tensor in tensors().items():
            assert (name, found[name].shape) == (name, tuple(tensor.shape))
            assert b"".join(found[name].chunks()) == b"".join(found[name].chunks(24)) == bits(tensor)


def plain(value: Any) -> Any:
    if isinstance(value, LegacyTensor):
        return b"".join(value.chunks())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def test_it_is_what_torch_itself_makes_one_file_of(folder: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        format_utils.dcp_to_torch_save(folder / "classic", tmp_path / "one.pt")
    with open_source(folder / "classic") as ours, open_source(tmp_path / "one.pt") as theirs:
        assert plain(ours.members[""]) == plain(theirs.members[""])
        assert ours.members[""]["args"] == {"lr": 1e-3, "layers": [1, 2]}


def test_a_second_save_by_fewer_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    state = {"w": torch.ones(4, 2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, storage_writer=FileSystemWriter(tmp_path / "a"), no_dist=True)
    (tmp_path / "a" / "__1_0.distcp").write_bytes((tmp_path / "a" / "__0_0.distcp").read_bytes())
    with pytest.raises(SourceError, match=r"files of an earlier save, .*: __1_0\.distcp"):
        open_source(tmp_path / "a")


def test_an_export_is_loaded_by_torch_and_read_back_here(tmp_path: Path) -> None:
    model = ckptfmt.create_model_from_config(CONFIG)
    ckptfmt.save_model_checkpoint(model, CONFIG, None, tmp_path / "saved")
    made = export(tmp_path / "saved", tmp_path / "out", to="dcp", check=True)
    assert made.checked == f"{len(model.state_dict())} tensors equal, bit for bit"
    other = ckptfmt.create_model_from_config(CONFIG).state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load(other, checkpoint_id=tmp_path / "out", no_dist=True)
    assert all(torch.equal(other[name], tensor) for name, tensor in model.state_dict().items())
    back = convert(tmp_path / "out", tmp_path / "back")
    assert back.architecture == "dueling"
    export(tmp_path / "saved", tmp_path / "out", to="dcp", overwrite=True)
    assert sorted(os.listdir(tmp_path / "out")) == [".metadata", "__0_0.distcp"]
