import json
import shutil
from pathlib import Path

SHARDED = Path(__file__).resolve().parents[2] / "fixtures" / "valid" / "sharded" / "checkpoint"


def test_parts_are_put_together(ckpt, tmp_path):
    shutil.copytree(SHARDED, tmp_path / "a")
    digest = json.loads((SHARDED / "manifest.json").read_text())["content_digest"]
    run = ckpt("merge", "a", "--out", "b", cwd=tmp_path)
    assert run.code == 0, run.err
    assert run.out.splitlines() == [
        "a  9 parts -> weights.safetensors, state.safetensors, replay.safetensors",
        f"  weights unchanged (sha256 {digest.removeprefix('sha256:')[:8]})",
        "wrote b",
    ]
    assert ckpt("diff", "a", "b", cwd=tmp_path).code == 0
    assert ckpt("merge", "b", cwd=tmp_path).out == "b  is whole: nothing to do\n"


def test_where_to_is_asked_for(ckpt, tmp_path):
    shutil.copytree(SHARDED, tmp_path / "a")
    run = ckpt("merge", "a", cwd=tmp_path)
    assert (run.code, run.err) == (
        2,
        "error: a: lies in parts, and no destination is given; give --out or --in-place\n",
    )
    assert ckpt("merge", "a", "--out", "b", "--in-place", cwd=tmp_path).code == 2
    assert ckpt("merge", "a", "--dry-run", cwd=tmp_path).out.endswith("run again without --dry-run\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_what_lies_in_parts_is_inspected_as_a_whole(ckpt):
    whole = json.loads(ckpt("inspect", str(SHARDED), "--json").out)["result"]
    plain = json.loads(ckpt("inspect", str(SHARDED.parents[1] / "everything" / "checkpoint"), "--json").out)["result"]
    assert whole["totals"] == plain["totals"]
    assert whole["content_digest"] == plain["content_digest"]
    assert len(whole["files"]) == 9
    assert [t["digest"] for t in whole["tensors"]] == [t["digest"] for t in plain["tensors"]]
