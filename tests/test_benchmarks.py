"""The benchmarks run, whatever their figures are on a machine that tests."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytest.importorskip("torch", reason="the benchmarks measure against torch, which is in the extra bench")
pytest.importorskip("huggingface_hub", reason="the benchmarks measure against huggingface_hub, in the extra bench")
pytest.importorskip("cpprb", reason="the benchmarks measure against cpprb, which is in the extra bench")


def test_every_row_runs_in_its_short_form_and_leaves_figures_and_pictures(tmp_path):
    out, data = tmp_path / "out", tmp_path / "data"
    data.mkdir()
    words = ["--short", "--curves", "--folder", str(data), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((out / "results.json").read_text())
    assert sorted({result["row"] for result in document["results"]}) == list(range(1, 19))
    assert all(result["value"] > 0 for result in document["results"])
    assert [ElementTree.parse(out / f"{name}.svg").getroot().tag for name in ("goals", "size", "count")] == [
        "{http://www.w3.org/2000/svg}svg"
    ] * 3
    assert list(data.iterdir()) == []


def test_a_ratio_is_the_median_of_pairs_and_a_goal_is_reached_up_to_and_with_it(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.measure import Comparison, Cost, Result

    ours = tuple(Cost(seconds, 0.0) for seconds in (2.0, 6.0, 30.0))
    theirs = tuple(Cost(seconds, 0.0) for seconds in (1.0, 2.0, 3.0))
    both = Comparison(ours, theirs)
    assert (both.ratio, both.spread) == (3.0, (2.0, 10.0))
    assert [Result.of(1, "", "", goal, both).reached for goal in (2.9, 3.0)] == [False, True]
