"""Files of a bucket are converted as those of a disk are: one by its URL, all below the URL of a folder."""

import json
import os
import tempfile
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save

import ckptfmt
from ckptfmt.errors import NotACheckpoint, SourceError, WriteError
from ckptfmt.remote.address import parse
from ckptfmt.remote.store import open_store
from tests.remote.conftest import ckpt, make_checkpoint

FOREIGN = Path(__file__).parents[2] / "fixtures" / "foreign"
DQN = (FOREIGN / "bare-state-dict" / "dqn.pth").read_bytes()


def put(url: str, data: bytes) -> str:
    place = parse(url)
    open_store(place).put(place.key, data, "a-test")
    return url


def test_a_file_of_a_bucket_is_converted_by_its_url(bucket, tmp_path):
    url = put(f"{bucket}/old/dqn.pth", DQN)
    done = ckpt("convert", url, str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["result"]
    assert (told["source"]["name"], told["architecture"]) == ("dqn.pth", "dqn")
    ckptfmt.convert(FOREIGN / "bare-state-dict" / "dqn.pth", tmp_path / "near")
    with ckptfmt.open(tmp_path / "out") as far, ckptfmt.open(tmp_path / "near") as near:
        assert far.manifest.content_digest == near.manifest.content_digest


def test_an_error_names_the_url_and_nothing_is_left_of_the_copy(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    os.mkdir(tmp_path / "temporary")
    url = put(f"{bucket}/old/broken.pth", DQN[:-5000])
    with pytest.raises(SourceError) as refusal:
        ckptfmt.convert(url, tmp_path / "out")
    assert url in str(refusal.value)
    assert "temporary" not in str(refusal.value)
    assert os.listdir(tmp_path) == ["temporary"]
    assert os.listdir(tmp_path / "temporary") == []


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("old/none.pth", "there is no such object; check the URL"),
        (
            "old",
            "is a folder, and one file is converted; "
            "give the URL of a file in it, or say where its checkpoints go with --out-dir",
        ),
        ("made-here", "is a checkpoint already; there is nothing to convert"),
    ],
)
def test_what_is_no_file_is_said(bucket, tmp_path, name, what):
    put(f"{bucket}/old/dqn.pth", DQN)
    ckptfmt.save(f"{bucket}/made-here", {"a": numpy.zeros(3, "f4")}).close()
    done = ckpt("convert", f"{bucket}/{name}", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (2, f"error: {bucket}/{name}: {what}\n")


def test_no_more_is_fetched_than_half_of_what_is_free(bucket, tmp_path, monkeypatch):
    url = put(f"{bucket}/old/dqn.pth", DQN)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": len(DQN)}))
    with pytest.raises(WriteError) as refusal:
        ckptfmt.convert(url, tmp_path / "out")
    assert str(refusal.value) == (
        f"{url}: is too large for the temporary folder, of which half is left free; name another one in TMPDIR"
    )
    assert not (tmp_path / "out").exists()


def test_all_below_the_url_of_a_folder_is_converted(bucket, tmp_path):
    root = f"{bucket}/runs"
    put(f"{root}/one/dqn.pth", DQN)
    put(f"{root}/two/dqn.pth", DQN)
    put(f"{root}/two/notes.txt", b"nothing")
    put(f"{root}/.hidden/dqn.pth", DQN)
    tensors = {"w": numpy.ones((3, 2), "f4"), "b": numpy.zeros(3, "f4")}
    for number, name in enumerate(tensors, 1):
        put(f"{root}/parts/model-{number:05}-of-00002.safetensors", save({name: tensors[name]}))
    names = {name: f"model-{number:05}-of-00002.safetensors" for number, name in enumerate(tensors, 1)}
    put(f"{root}/parts/model.safetensors.index.json", json.dumps({"weight_map": names}).encode())
    make_checkpoint(tmp_path / "made")
    words = ["convert", root, "--out-dir", f"{root}/new", "--architecture", "none", "--json"]
    for status in ("converted", "unchanged"):
        done = ckpt(*words)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines[-1]["result"] == {
            "files": 3, "converted": 0, "planned": 0, "unchanged": 0, "failed": 0, "others": 1, status: 3,
        }  # fmt: skip
    assert ckptfmt.open(f"{root}/new/one/dqn").manifest.conversion.source.name == "dqn.pth"
    assert sorted(ckptfmt.open(f"{root}/new/parts/model").tensors) == ["b", "w"]


def test_a_file_of_a_bucket_is_told_of_by_its_url(bucket):
    url = put(f"{bucket}/old/dqn.pth", DQN)
    found, missing = ckptfmt.summarize_many([url, f"{bucket}/none"])
    near = ckptfmt.summarize(FOREIGN / "bare-state-dict" / "dqn.pth")
    assert {**found.to_dict(), "path": ""} == {**near.to_dict(), "path": ""}
    assert found.path == url
    assert isinstance(missing, NotACheckpoint)
    done = ckpt("inspect", "--source", url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(url)
