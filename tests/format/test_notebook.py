import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.format.notebook import Shown

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
EVIL = "<script>alert(1)</script>\" onload='x' \u202e\x1b[31m"


def words(html: str) -> list[str]:
    return [unescape(text) for text in re.split("<[^>]*>", html) if text]


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    shutil.copytree(FIXTURES / "valid" / "dqn" / "checkpoint", tmp_path / "dqn")
    return tmp_path / "dqn"


def test_a_checkpoint_says_first_what_it_is_and_folds_its_tensors(checkpoint):
    with ckptfmt.open(checkpoint) as opened:
        html = opened._repr_html_()
        assert words(html)[0] == f"{checkpoint}: {str(repr(opened)).removesuffix('>').rpartition(': ')[2]}"
        assert f"<summary>{len(opened.names())} tensors</summary>" in html
        assert all(name in html for name in opened.names())
    assert html.count("<details>") == html.count("</details>") > 1


def test_nothing_but_the_manifest_is_read_for_it(checkpoint):
    (checkpoint / "weights.safetensors").unlink()
    with ckptfmt.open(checkpoint) as opened:
        assert "tensors</summary>" in opened._repr_html_()


def test_results_say_first_what_came_out(checkpoint, tmp_path):
    source = FIXTURES / "foreign" / "dueling-v2" / "dqn_best.pth"
    conversion = ckptfmt.convert(source, tmp_path / "out")
    assert words(conversion._repr_html_())[0].startswith(f"dqn_best.pth -> {tmp_path / 'out'}: dueling, ")
    report = ckptfmt.validate(checkpoint)
    assert words(report._repr_html_())[0] == f"{checkpoint}: valid"
    found = ckptfmt.diff(checkpoint, checkpoint)
    assert words(found._repr_html_())[0] == f"{checkpoint} -> {checkpoint}: the same"
    answer = ckptfmt.classify({"w": (3, 3)})
    assert words(answer._repr_html_())[0] == f"not told: {answer.refusal}"


def test_plain_text_is_kept_for_those_who_show_no_html(checkpoint):
    report = ckptfmt.validate(checkpoint)
    assert report._repr_mimebundle_() == {"text/plain": repr(report), "text/html": report._repr_html_()}
    assert report._repr_mimebundle_(exclude={"text/html"}) == {"text/plain": repr(report)}
    assert report._repr_mimebundle_(include={"text/html"}) == {"text/html": report._repr_html_()}


def test_text_of_a_stranger_is_text_and_nothing_has_a_style(tmp_path):
    with ckptfmt.save(tmp_path / "a", {EVIL: np.zeros(2, np.float32)}, training_info={EVIL: EVIL}) as opened:
        html = opened._repr_html_()
    tags = set(re.findall("<([a-z]+)", html))
    assert tags <= {"div", "p", "strong", "details", "summary", "table", "tr", "th", "td"}
    assert re.findall("<[a-z]+ [^>]*>", html) == []
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_of_many_rows_the_first_are_shown_and_the_others_counted():
    class Many(Shown):
        def _notebook_(self):
            return "many", {"rows": ((str(number), number) for number in range(1234))}

    html = Many()._repr_html_()
    assert html.count("<tr>") == 201
    assert "and 1,034 more" in html
