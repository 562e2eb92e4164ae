import ckptfmt
from ckptfmt.format.manifest import Lineage

from .conftest import Run  # noqa: F401


def test_a_checkpoint_without_parents_is_a_tree_of_one(ckpt, work):
    done = ckpt("lineage", "runs/breakout-042")
    assert (done.code, done.out) == (0, "runs/breakout-042  4,000,000 steps  of unknown origin\n")


def test_a_folder_to_look_in_that_is_not_there_is_said(ckpt, work):
    done = ckpt("lineage", "runs/breakout-042", "--in", "rnus")
    assert (done.code, done.err) == (2, "error: rnus: no such folder; check the path\n")


def test_a_parent_that_is_named_and_not_found_is_exit_1(ckpt, work, tensors):
    missing = "sha256:" + "0" * 64
    line = Lineage(kind="resumed", parent=missing)
    ckptfmt.save(work / "runs" / "late", tensors, lineage=line).close()
    done = ckpt("lineage", "runs/late")
    assert (done.code, done.out) == (1, f"runs/late  resumed\n└ missing {missing}\n")
    assert ckpt("lineage", "runs/late", "--json").document["result"]["edges"][0]["kind"] == "resumed"
    assert ckpt("lineage", "runs/late", "--graph", "dot").out.startswith("digraph lineage {\n")


def test_a_long_line_of_parents_does_not_grow_wider_and_wider(ckpt, work, tensors):
    parent = None
    for step in range(40):
        line = Lineage(kind="resumed", parent=parent)
        with ckptfmt.save(work / "long" / f"step-{step:02}", tensors, lineage=line) as checkpoint:
            parent = checkpoint.manifest.manifest_digest
    lines = ckpt("lineage", "long/step-39").out.splitlines()
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, *range(0, 60, 2), *[60] * 9]
    assert lines[-1].split()[:2] == ["└", str(work / "long" / "step-00")]
