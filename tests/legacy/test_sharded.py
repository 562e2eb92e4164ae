"""Networks in several files are one network, joined by their index."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ckptfmt.convert.convert import convert
from ckptfmt.convert.sources import find_sources
from ckptfmt.errors import SourceError
from ckptfmt.legacy.sharded import open_source
from ckptfmt.store.checkpoint import Checkpoint

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"a.weight": np.arange(6, dtype="f4").reshape(2, 3), "a.bias": np.ones(2, "f4")}, tmp_path / FIRST)
    save_file({"b.weight": np.ones((4, 2), "f4")}, tmp_path / SECOND)
    weights = {"a.weight": FIRST, "a.bias": FIRST, "b.weight": SECOND}
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {"total_size": 64}, "weight_map": weights}))
    return tmp_path


def test_the_parts_are_one_network(folder: Path) -> None:
    result = convert(folder / INDEX, folder / "out")
    with Checkpoint(folder / "out") as checkpoint:
        assert sorted(checkpoint.names()) == ["a.bias", "a.weight", "b.weight"]
        checkpoint.verify()
    assert result.source.container == "sharded+safetensors"
    assert result.source.bytes == sum((folder / name).stat().st_size for name in (FIRST, SECOND))


def test_a_folder_holds_them_once(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"PK\x03\x04")
    (folder / "empty.pth").write_bytes(b"")
    found = find_sources([folder], folder / "out")
    assert [(Path(item.source).name, Path(item.dest).name) for item in found.items] == [(INDEX, "model")]
    assert found.others == 2


def test_one_part_alone_points_to_the_index(folder: Path) -> None:
    with pytest.raises(SourceError) as refusal:
        open_source(folder / SECOND)
    assert (refusal.value.what, refusal.value.code) == ("is part 2 of 2 of one network", "source.shard")
    assert refusal.value.fix == f"give its index: {folder / INDEX}"
    (folder / INDEX).unlink()
    with pytest.raises(SourceError, match="which is not beside it"):
        open_source(folder / SECOND)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{}", "is not an index of a network in several files"),
        ("[1", "is not JSON"),
        (
            json.dumps({"weight_map": {"a": "../secret"}}),
            "names '../secret', which is not the name of a file next to it",
        ),
        (json.dumps({"weight_map": {"a": 3}}), "is not an index of a network in several files"),
        (json.dumps({"weight_map": {"a.weight": FIRST}}), "holds other tensors than its index lists"),
        (json.dumps({"weight_map": {"a.weight": "gone.safetensors"}}), "there is no such file"),
        (json.dumps({"weight_map": {str(i): f"f{i}" for i in range(2000)}}), "lists 2,000 files"),
    ],
)
def test_an_index_that_is_not_right_is_refused(folder: Path, text: str, what: str) -> None:
    (folder / INDEX).write_text(text)
    with pytest.raises(SourceError) as refusal:
        open_source(folder / INDEX)
    assert refusal.value.what.startswith(what)
    assert (folder / "out").exists() is False


def test_what_was_unpacked_beside_its_zip_is_not_taken_twice(tmp_path: Path) -> None:
    (tmp_path / "dqn").mkdir()
    for name in ("policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"):
        (tmp_path / "dqn" / name).write_bytes(b"PK\x03\x04")
    alone = find_sources([tmp_path], tmp_path / "out")
    assert [Path(item.source).name for item in alone.items] == ["policy.pth"]
    (tmp_path / "dqn.zip").write_bytes(b"PK\x03\x04")
    both = find_sources([tmp_path], tmp_path / "out")
    assert [Path(item.source).name for item in both.items] == ["dqn.zip"]
