import json
import shutil
from pathlib import Path

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
    run = ckpt("upgrade", "a", "--to", "1.4", "--in-place", cwd=tmp_path)
    assert (run.code, run.out, run.err) == (
        2, "", "error: a: there is no version 1.4 of the format that this ckptfmt knows; use one of 1.0-pre, 1.0\n",
    )  # fmt: skip
