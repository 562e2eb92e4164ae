"""Checkpoints are found by a pattern as a shell finds names, where no shell can."""

import os

import numpy as np
import pytest

import ckptfmt
from ckptfmt.look.matching import matching


@pytest.fixture
def runs(tmp_path, monkeypatch):
    for name in ("a/step-1", "a/step-2", "a/best", "b/step-1", "b/deep/step-1"):
        ckptfmt.save(tmp_path / "runs" / name, {"w": np.ones(2, "f4")}).close()
    (tmp_path / "runs" / "a" / "step-notes").mkdir()
    os.symlink("step-1", tmp_path / "runs" / "a" / "step-link")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("runs/a/*", ["runs/a/best", "runs/a/step-1", "runs/a/step-2"]),
        ("runs/a/step-*", ["runs/a/step-1", "runs/a/step-2"]),
        ("runs/*/step-1", ["runs/a/step-1", "runs/b/step-1"]),
        ("runs/*/*-1/", ["runs/a/step-1", "runs/b/step-1"]),
        ("r*/b/deep/*", ["runs/b/deep/step-1"]),
        ("./r*/a/b*", ["./runs/a/best"]),
        ("runs/a/nothing", ["runs/a/nothing"]),
        ("", [""]),
    ],
)
def test_a_star_is_any_part_of_one_name(runs, pattern, found):
    assert list(matching(pattern)) == found


def test_an_absolute_pattern_and_a_file_url(runs):
    assert list(matching(f"{runs}/a/b*")) == [f"{runs}/a/best"]
    assert list(matching(f"file://{runs}/a/b*")) == [f"{runs}/a/best"]


def test_what_is_there_is_no_pattern(runs):
    (runs / "a" / "step-*").mkdir()
    assert list(matching("runs/a/step-*")) == ["runs/a/step-*"]


def test_other_signs_of_shells_and_of_regular_expressions_stand_for_themselves(runs):
    ckptfmt.save(runs / "a" / "x[1].+", {"w": np.ones(2, "f4")}).close()
    assert list(matching("runs/a/x[1].*")) == ["runs/a/x[1].+"]


def test_a_pattern_that_nothing_has_the_form_of_stays_one(runs):
    assert list(matching("runs/c/*")) == ["runs/c/*"]


def test_folders_without_a_manifest_are_found_where_they_hold_files_of_a_checkpoint(runs):
    (runs / "a" / "step-1" / "manifest.json").unlink()
    assert list(matching("runs/a/*")) == ["runs/a/best", "runs/a/step-1", "runs/a/step-2"]


def test_a_folder_that_may_not_be_read_is_found_where_a_checkpoint_may_lie_in_it(runs, locked):
    locked(runs / "b")
    assert list(matching("runs/*/step-1")) == ["runs/a/step-1", "runs/b"]
    assert list(matching("runs/*")) == ["runs/b"]
    assert list(matching("runs/a/*-1")) == ["runs/a/step-1"]
