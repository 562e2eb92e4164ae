"""Checkpoints written before 1.0 was settled are read, and brought to what is written today."""

import json
import shutil
from pathlib import Path

import pytest

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.format.digest import manifest_digest
from ckptfmt.format.jsontext import render
from ckptfmt.format.upgrade import raised
from ckptfmt.store.forms import compress

DQN = Path(__file__).resolve().parents[2] / "fixtures" / "valid" / "dqn" / "checkpoint"
CHANGE = "files.*.tensors.*: blake3 is called digest and names its algorithm"


@pytest.fixture
def old(tmp_path):
    """A checkpoint as it was written before the release."""
    path = tmp_path / "old"
    shutil.copytree(DQN, path)
    raw = json.loads((path / "manifest.json").read_text())
    for tensor in raw["files"]["weights.safetensors"]["tensors"].values():
        tensor["blake3"] = tensor.pop("digest").removeprefix("blake3:")
    raw["manifest_digest"] = manifest_digest(raw)
    (path / "manifest.json").write_text(render(raw))
    return path


def written(file):
    state = file.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def identity(path):
    with ckptfmt.open(path) as checkpoint:
        checkpoint.verify()
        return checkpoint.manifest.content_digest


def test_what_was_written_before_the_release_is_read_as_it_is(old):
    assert identity(old) == identity(DQN)
    assert ckptfmt.validate(old).problems == ()
    assert ckptfmt.diff(old, DQN).same


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(old):
    before = (old / "manifest.json").read_bytes()
    done = ckptfmt.upgrade(old, dry_run=True)
    assert done.to_dict() == {
        "path": str(old), "from": "1.0-pre", "to": "1.0",
        "steps": [{"from": "1.0-pre", "to": "1.0", "changes": [CHANGE]}],
        "dest": None, "written": False, "content_digest": identity(DQN),
    }  # fmt: skip
    assert (old / "manifest.json").read_bytes() == before


def test_an_upgrade_in_place_changes_the_manifest_alone(old):
    weights = written(old / "weights.safetensors")
    assert ckptfmt.upgrade(old, in_place=True).written == str(old)
    assert (old / "manifest.json").read_bytes() == (DQN / "manifest.json").read_bytes()
    assert written(old / "weights.safetensors") == weights
    assert ckptfmt.upgrade(old, in_place=True).steps == ()


def test_an_upgrade_to_a_new_folder_leaves_the_old_one(old, tmp_path):
    before = (old / "manifest.json").read_bytes()
    done = ckptfmt.upgrade(old, tmp_path / "new")
    assert done.written == str(tmp_path / "new")
    assert (tmp_path / "new" / "manifest.json").read_bytes() == (DQN / "manifest.json").read_bytes()
    assert (old / "manifest.json").read_bytes() == before


def test_where_nothing_says_where_nothing_is_written(old):
    before = (old / "manifest.json").read_bytes()
    with pytest.raises(CkptError) as caught:
        ckptfmt.upgrade(old)
    assert str(caught.value) == (f"{old}: it can be upgraded, but no destination is given; give dest= or in_place=True")
    assert (old / "manifest.json").read_bytes() == before


def test_nothing_is_done_to_the_newest(tmp_path):
    done = ckptfmt.upgrade(DQN)
    assert (done.old, done.new, done.steps, done.written) == ("1.0", "1.0", (), "")


def test_what_does_not_lie_in_parts_stays_of_the_version_before():
    done = ckptfmt.upgrade(DQN, to="1.1")
    assert (done.old, done.new, done.steps, done.written) == ("1.0", "1.0", (), "")


def test_steps_are_taken_one_at_a_time(old):
    steps = {
        "1.0-pre": ("0.8", lambda raw: ({**raw, "a": 1}, ("first",))),
        "0.8": ("0.9", lambda raw: ({**raw, "b": raw["a"] + 1}, ("second",))),
    }
    raw, taken = raised(json.loads((old / "manifest.json").read_text()), steps)
    assert (raw["a"], raw["b"]) == (1, 2)
    assert [(step.old, step.new, step.changes) for step in taken] == [
        ("1.0-pre", "0.8", ("first",)),
        ("0.8", "0.9", ("second",)),
    ]


STEPS = {
    "1.0-pre": ("1.0", lambda raw: ({**raw, "a": 1}, ("first",))),
    "1.0": ("1.1", lambda raw: ({**raw, "b": raw["a"] + 1}, ("second",))),
}


def test_steps_end_where_they_are_asked_to(old):
    raw = json.loads((old / "manifest.json").read_text())
    assert [step.new for step in raised(raw, STEPS, to="1.0")[1]] == ["1.0"]
    assert [step.new for step in raised(raw, STEPS, to="1.1")[1]] == ["1.0", "1.1"]
    assert raised(raw, STEPS, to="1.0-pre") == (raw, ())


@pytest.mark.parametrize("version", ["1.7", "2.0", "", "newest\x1b"])
def test_a_version_that_nobody_knows_is_none(old, version):
    with pytest.raises(CkptError) as caught:
        ckptfmt.upgrade(old, to=version, in_place=True)
    shown = version.replace("\x1b", "\\x1b")
    assert str(caught.value) == (
        f"{old}: there is no version {shown} of the format that this ckptfmt knows; use one of 1.0-pre, 1.0, 1.1"
    )
    assert caught.value.code == "upgrade.version"


def test_there_is_no_way_back():
    before = (DQN / "manifest.json").read_bytes()
    with pytest.raises(CkptError) as caught:
        ckptfmt.upgrade(DQN, to="1.0-pre", dry_run=True)
    assert (caught.value.code, caught.value.what) == ("upgrade.back", "is of version 1.0, which is newer than 1.0-pre")
    assert (DQN / "manifest.json").read_bytes() == before


def test_what_is_asked_for_is_there_already(old):
    done = ckptfmt.upgrade(old, to="1.0-pre")
    assert (done.old, done.new, done.steps, done.written) == ("1.0-pre", "1.0-pre", (), "")


def test_a_copy_keeps_the_form_of_its_files(old, tmp_path):
    assert compress(old, everything=True).changed
    ckptfmt.upgrade(old, tmp_path / "new")
    with ckptfmt.open(tmp_path / "new") as checkpoint:
        assert checkpoint.compressed()
    assert (tmp_path / "new" / "manifest.json").read_bytes() == (DQN / "manifest.json").read_bytes()


def test_a_damaged_old_manifest_is_found(old):
    text = (old / "manifest.json").read_text()
    (old / "manifest.json").write_text(text.replace('"n_action": 2', '"n_action": 3'))
    assert next(problem.code for problem in ckptfmt.validate(old).errors) == "manifest.digest"
