import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.format.manifest import Lineage
from ckptfmt.look.lineage import ancestors, find_checkpoints, lineage
from ckptfmt.store.write import update_manifest
from tests.counted import steps


def save(path: Path, value: float, parent: Path | None = None, kind: str = "resumed") -> Path:
    line = None
    if parent is not None:
        with ckptfmt.open(parent) as checkpoint:
            line = Lineage(kind=kind, parent=checkpoint.manifest.manifest_digest)
    info = {"step": value * 1000}
    ckptfmt.save(path, {"fc.weight": np.full((2, 3), value, np.float32)}, training_info=info, lineage=line).close()
    return path


@pytest.fixture
def run(tmp_path) -> Path:
    save(tmp_path / "run" / "a", 1)
    save(tmp_path / "run" / "b", 2, tmp_path / "run" / "a")
    save(tmp_path / "run" / "c", 3, tmp_path / "run" / "b", "fine-tuned")
    return tmp_path / "run"


def test_a_chain_is_told_from_the_youngest_to_the_oldest(run):
    found = lineage(run / "c")
    assert [Path(node.path).name for node in found.nodes] == ["c", "b", "a"]
    assert [node.kind for node in found.nodes] == ["fine-tuned", "resumed", None]
    assert [node.step for node in found.nodes] == [3000, 2000, 1000]
    assert found.complete
    assert [edge["kind"] for edge in found.edges] == ["fine-tuned", "resumed"]


def test_a_parent_that_is_not_there_is_shown_as_missing(run):
    shutil.rmtree(run / "b")
    found = lineage(run / "c")
    assert (found.complete, found.nodes[-1].path, len(found.nodes)) == (False, None, 2)
    assert found.nodes[-1].digest.startswith("sha256:")


def test_parents_are_looked_for_in_other_folders(run, tmp_path):
    shutil.move(run / "a", tmp_path / "elsewhere" / "deep" / "a")
    assert not lineage(run / "c").complete
    assert lineage(run / "c", [tmp_path / "elsewhere"]).complete


def test_a_moved_and_renamed_parent_is_found_by_its_digest(run):
    (run / "b").rename(run / "renamed")
    assert [Path(node.path).name for node in lineage(run / "c").nodes] == ["c", "renamed", "a"]


def test_digests_that_run_in_a_circle_end(run):
    with ckptfmt.open(run / "a") as checkpoint:
        content = checkpoint.manifest.content_digest
    # A parent may be named by the digest of its content, and who forges may name his own.
    update_manifest(run / "a", lambda m: replace(m, lineage=Lineage(kind="resumed", parent=content)))
    assert len(lineage(run / "a").nodes) == 2


def test_links_are_not_followed_and_damaged_checkpoints_are_passed_over(run, tmp_path):
    (run / "link").symlink_to(run / "a")
    (run / "broken").mkdir()
    (run / "broken" / "manifest.json").write_text("{")
    assert [Path(path).name for path in find_checkpoints(run)] == ["a", "b", "broken", "c"]
    assert lineage(run / "c").complete


def test_a_parent_that_lies_before_its_child_is_found_without_reading_the_others(tmp_path):
    """Checkpoints of a run are names that sort: how many others there are costs their names alone."""

    def chain_among(others: int) -> int:
        run = tmp_path / str(others)
        for number in range(others):
            save(run / f"step-{number:03}", number)
        child = save(run / "step-501", 2, save(run / "step-500", 1))
        return steps(lambda: lineage(child))

    few, many = chain_among(2), chain_among(22)
    assert many < 1.2 * few


def test_of_several_with_one_content_the_first_is_the_parent(run):
    with ckptfmt.open(run / "a") as checkpoint:
        content = checkpoint.manifest.content_digest
    save(run / "d", 1)
    with ckptfmt.open(run / "c") as checkpoint:
        line = replace(checkpoint.manifest.lineage, parent=content)
    update_manifest(run / "c", lambda manifest: replace(manifest, lineage=line))
    assert [Path(node.path).name for node in lineage(run / "c").nodes] == ["c", "a"]


def test_each_ancestor_comes_before_the_next_one_is_looked_for(run):
    found = ancestors(run / "c")
    assert next(found).path == str(run / "c")
    # Who is not looked for yet may still go.
    shutil.rmtree(run / "a")
    assert [node.path for node in found] == [str(run / "b"), None]
