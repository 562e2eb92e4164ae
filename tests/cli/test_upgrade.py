import json
import shutil
from pathlib import Path

from ckptfmt.format.digest import manifest_digest
from ckptfmt.format.jsontext import render

DQN = Path(__file__).resolve().parents[2] / "fixtures" / "valid" / "dqn" / "checkpoint"


def test_nothing_to_do_is_a_sentence_and_exit_0(ckpt, tmp_path):
    shutil.copytree(DQN, tmp_path / "a")
    run = ckpt("upgrade", "a", cwd=tmp_path)
    assert (run.code, run.out, run.err) == (0, "a  1.0: nothing to do\n", "")


def test_several_are_one_document(ckpt, tmp_path):
    shutil.copytree(DQN, tmp_path / "a")
    run = ckpt("upgrade", "a", "a", "--dry-run", "--json", cwd=tmp_path)
    found = json.loads(run.out)
    assert [one["to"] for one in found["result"]["checkpoints"]] == ["1.0", "1.0"]


def test_two_places_exclude_each_other(ckpt, tmp_path):
    run = ckpt("upgrade", str(DQN), "--in-place", "--out", "b", cwd=tmp_path)
    assert run.code == 2
    assert run.err.startswith("error: ckpt upgrade: --out and --in-place exclude each other")


def test_a_version_is_named(ckpt, tmp_path):
    shutil.copytree(DQN, tmp_path / "a")
    run = ckpt("upgrade", "a", "--to", "1.0", cwd=tmp_path)
    assert (run.code, run.out, run.err) == (0, "a  1.0: nothing to do\n", "")
    run = ckpt("upgrade", "a", "--to", "1.1", cwd=tmp_path)
    assert (run.code, run.out) == (0, "a  1.0: nothing to do; 1.1 is only for files in parts\n")
    run = ckpt("upgrade", "a", "--to", "1.4", "--in-place", cwd=tmp_path)
    assert (run.code, run.out) == (2, "")
    assert run.err == (
        "error: a: there is no version 1.4 of the format that this ckptfmt knows; use one of 1.0-pre, 1.0, 1.1\n"
    )


def test_one_that_fails_keeps_no_other_from_its_upgrade(ckpt, tmp_path):
    for name in ("a", "c"):
        shutil.copytree(DQN, tmp_path / name)
        _make_old(tmp_path / name / "manifest.json")
    run = ckpt("upgrade", "a", "b", "c", "--in-place", cwd=tmp_path)
    assert run.code == 2
    assert run.err == "error: b: no such folder; check the path\n"
    assert [line for line in run.out.splitlines() if line.startswith("wrote")] == ["wrote a", "wrote c"]


def test_the_document_of_several_names_those_that_failed(ckpt, tmp_path):
    shutil.copytree(DQN, tmp_path / "a")
    run = ckpt("upgrade", "a", "b", "--json", cwd=tmp_path)
    assert (run.code, run.document["ok"]) == (2, False)
    assert [one["path"] for one in run.document["result"]["checkpoints"]] == ["a"]
    assert [one["where"] for one in run.document["result"]["errors"]] == ["b"]


def _make_old(manifest):
    """Write a manifest as it was before the release."""
    raw = json.loads(manifest.read_text())
    for file in raw["files"].values():
        for tensor in file["tensors"].values():
            tensor["blake3"] = tensor.pop("digest").removeprefix("blake3:")
    raw["manifest_digest"] = manifest_digest(raw)
    manifest.write_text(render(raw))
