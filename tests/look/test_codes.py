"""Every code that a look at a checkpoint can give is documented, and every documented one is shown."""

import ast
import json
import re
from pathlib import Path

import pytest

from ckptfmt.errors import CkptError
from ckptfmt.format.files import WEIGHTS
from ckptfmt.look.validate import codes, explain

ROOT = Path(__file__).resolve().parent.parent.parent
LOOKS = (
    "look/validate/*",
    "store/checkpoint",
    "families/atari_dqn/config",
    "families/blueprint",
    "families/encoder",
    "families/registry",
    "errors",
    "format/document",
    "format/files",
    "format/jsontext",
    "format/manifest",
    "format/safetensors",
)
CODE = re.compile(r"(layout|manifest|config|weights|version|training|report)\.[a-z][a-z0-9-]*")
# Codes of a save, which no checkpoint on a disk can have.
OF_WRITING = {"weights.meta"}
NOT_IN_A_FOLDER = {
    "layout.unreadable": "archives keep no permissions",
    "layout.changed": "needs somebody who writes at that moment",
    "report.more": "needs a thousand faults",
}


def used() -> set[str]:
    found = set()
    for pattern in LOOKS:
        for path in (ROOT / "ckptfmt").glob(f"{pattern}.py"):
            strings = (n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant))
            found |= {text for text in strings if isinstance(text, str) and CODE.fullmatch(text)}
    return found - {WEIGHTS} - OF_WRITING


def test_every_code_in_use_is_documented():
    assert used() - set(codes()) == set()


def test_every_documented_code_is_in_use():
    assert set(codes()) - used() == set()


def test_every_code_is_shown_by_a_fixture():
    shown = {path.name.partition("+")[0] for path in (ROOT / "fixtures" / "invalid").iterdir()}
    assert shown == set(codes()) - set(NOT_IN_A_FOLDER)


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
    for text in (code.means, code.cause, code.mend):
        assert text.endswith(".")
        assert len(text) > 15
    assert code.example


def test_an_unknown_code_gets_its_neighbours():
    with pytest.raises(CkptError) as caught:
        explain("weights.shapes")
    assert str(caught.value).startswith("there is no problem code weights.shapes; did you mean weights.shape")
