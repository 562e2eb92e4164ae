import os

from .conftest import Run  # noqa: F401

LEFT = ".out.ckpt-stage-0123456789abcdef"


def test_leftovers_are_listed_first_and_removed_when_told(ckpt, tmp_path):
    stage = tmp_path / LEFT
    stage.mkdir()
    (stage / "weights.safetensors").write_bytes(bytes(2048))
    listed = ckpt("clean", ".", cwd=tmp_path)
    assert (listed.code, listed.err) == (0, "remove with: ckpt clean . --force\n")
    assert listed.out == (
        f"./{LEFT}  2.0 KiB  unfinished or replaced checkpoint  left\n1 leftover to remove, 2.0 KiB\n"
    )
    assert stage.exists()
    removed = ckpt("clean", ".", "--force", cwd=tmp_path)
    assert (removed.code, removed.err) == (0, "")
    assert removed.out.endswith("\n1 leftover removed, 2.0 KiB\n")
    assert os.listdir(tmp_path) == []


def test_the_answer_as_json(ckpt, tmp_path):
    (tmp_path / ".out.ckpt-lock").write_text("")
    document = ckpt("clean", ".", "--json", cwd=tmp_path).document
    assert document["result"] == {
        "path": ".",
        "removed": False,
        "leftovers": [
            {"path": "./.out.ckpt-lock", "kind": "lock", "bytes": 0, "held_by": "", "state": "left", "why": ""}
        ],
    }
    document = ckpt("clean", ".", "--force", "--json", cwd=tmp_path).document
    assert (document["result"]["removed"], document["result"]["leftovers"][0]["state"]) == (True, "removed")


def test_a_folder_that_is_not_there_is_one_line(ckpt, tmp_path):
    run = ckpt("clean", "nowhere", cwd=tmp_path)
    assert (run.code, run.out) == (2, "")
    assert run.err == "error: nowhere: no such folder; give the folder that holds the checkpoints\n"
    (tmp_path / "file").touch()
    run = ckpt("clean", "file", cwd=tmp_path)
    assert run.err == "error: file: is a file, not a folder; give the folder that holds the checkpoints\n"
