import re

import pytest

pytest.importorskip("jinja2", reason="jinja2 is not installed")

import numpy as np

import ckptfmt
from ckptfmt.report import report
from tests import traces

BEHAVIOUR = {
    "steps": 12,
    "chosen_otherwise": 25,
    "choices": [{"step": 3, "a": "UP", "b": "DOWN"}, {"step": 7, "a": "<b>", "b": "NOOP"}],
    "compared": "q_values",
    "mean_a": 1.5,
    "mean_b": 2.5,
    "mean_difference": 1.0,
    "largest_difference": 3.25,
    "correlation": None,
    "values_a": [float(step) for step in range(12)],
    "values_b": [float(step) + 1 for step in range(12)],
}


def pair(folder):
    for name, value in (("old", 1), ("new", 2)):
        ckptfmt.save(folder / name, {"fc.weight": np.full((2, 3), value, np.float32)}).close()
    return folder / "old", folder / "new"


def test_a_page_says_what_both_do_with_the_same_frames(tmp_path):
    trace = traces.write(tmp_path / "a.trace")
    page = report(*pair(tmp_path), behaviour={**BEHAVIOUR, "trace": str(trace)})
    assert "otherwise" in page.sections
    assert (
        "Of 12 steps of ALE/Pong-v5 they choose another action at 25. The highest Q-value is 1.5 on average in old and "
        "2.5 in new; they differ by 1 on average, by 3.25 at most."
    ) in page.html
    assert page.html.count("The screen at step") == 2
    assert "step 7: &lt;b&gt; in old, NOOP in new" in page.html
    assert "and 23 more" in page.html
    assert "<script" not in page.html


def test_without_frames_the_steps_are_told_in_words(tmp_path):
    held = {name: array for name, array in traces.arrays().items() if name != "frames"}
    page = report(*pair(tmp_path), behaviour={**BEHAVIOUR, "trace": str(traces.write(tmp_path / "a.trace", held))})
    assert "The screen at step" not in page.html
    assert '<td class="n">7</td><td>&lt;b&gt;</td><td>NOOP</td>' in page.html


def test_values_that_are_not_finite_spoil_no_picture(tmp_path):
    odd = {
        **BEHAVIOUR,
        "values_a": [float("nan"), float("inf"), 1.0],
        "values_b": [float("nan")] * 3,
        "mean_b": float("nan"),
    }
    page = report(*pair(tmp_path), behaviour={**odd, "trace": str(traces.write(tmp_path / "a.trace"))})
    assert not re.search(r'(?:points|cx|cy)="[^"]*(?:nan|inf)', page.html)
    assert "new: nan nan nan" in page.html
