"""The registry of codes: whole sentences, and a fixture for each that a look at a checkpoint can give."""

import json
from pathlib import Path

import pytest

from ckptfmt.codes import check_pattern, codes, explain
from ckptfmt.errors import CkptError

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("checkpoint", "source", "conversion", "writing", "training", "program")
NOT_IN_A_FOLDER = {
    "layout.unreadable": "archives keep no permissions",
    "layout.changed": "needs somebody who writes at that moment",
    "report.more": "needs a thousand faults",
    "weights.count": "needs 32,769 tensors",
}


def test_every_code_of_a_checkpoint_is_shown_by_a_fixture():
    shown = {path.name.partition("+")[0] for path in (ROOT / "fixtures" / "invalid").iterdir()}
    assert shown == set(codes("checkpoint")) - set(NOT_IN_A_FOLDER)


@pytest.mark.parametrize("path", sorted((ROOT / "fixtures" / "invalid").iterdir()), ids=lambda path: path.name)
def test_a_fixture_shows_the_code_it_is_named_for(path):
    expected = json.loads((path / "expected.json").read_text())
    found = [problem["code"] for problem in expected.get("problems", [expected.get("error")])]
    assert path.name.partition("+")[0] in found


def test_an_explanation_tells_meaning_cause_mend_and_example():
    assert explain("weights.shape") == (
        "weights.shape  (error)\n"
        "  means    Manifest and file disagree on the shape of a tensor.\n"
        "  cause    Another file lies under this name, often one of an older save.\n"
        "  mend     Copy the checkpoint again, whole.\n"
        "  example  weights.safetensors conv.0.weight: manifest says 32×4×8×8, file has 32×1×8×8"
    )


@pytest.mark.parametrize("code", codes().values(), ids=lambda code: code.code)
def test_every_explanation_is_whole_sentences(code):
    assert code.severity in ("error", "warning", "fatal")
    assert code.of in KINDS
    for text in (code.means, code.cause, code.mend):
        assert text.endswith(".")
        assert len(text) > 15
    assert code.example


def test_an_unknown_code_gets_its_neighbours():
    with pytest.raises(CkptError) as caught:
        explain("weights.shapes")
    assert str(caught.value).startswith("there is no problem code weights.shapes; did you mean weights.shape")


@pytest.mark.parametrize("pattern", ["write.*", "source.crc", "nonsense.*"])
def test_only_what_validate_can_find_is_chosen_among_its_problems(pattern):
    with pytest.raises(CkptError, match="there is no problem code"):
        check_pattern(pattern)
