"""Families are found by the name of something installed; a name in a manifest imports nothing else."""

import json
import re
import sys
from importlib.metadata import EntryPoint

import pytest
from ckptfmt.cli.main import main

from ckptfmt.errors import CkptError
from ckptfmt.families import registry
from ckptfmt.families.atari_dqn import FAMILY
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.config import config_schema
from ckptfmt.families.tell import classify

PLUG_IN = """
from dataclasses import dataclass
from typing import ClassVar

from ckptfmt.families.config import Config, positive
from ckptfmt.families.registry import Family
from ckptfmt.format.document import value

@dataclass(frozen=True, kw_only=True)
class LinearConfig(Config):
    family: ClassVar[str] = "ckpt-lab/linear"
    inputs: int = value(positive, "Inputs of the layer.")

FAMILY = Family(
    name="ckpt-lab/linear",
    about="One layer",
    config=LinearConfig,
    network_name=lambda config: "linear",
    tensors=lambda config: {"weight": (1, config.inputs)},
)
"""

RIVAL = """
from ckptfmt.families.answer import Candidate, Placement
from ckptfmt.families.claim import Proposal, Witness
from ckpt_lab_config import LinearConfig

def recognise(seen):
    told = [name for name in seen.shapes if WORD in name]
    if told:
        name, shape = told[0], seen.shapes[told[0]]
        yield Proposal(
            family="ckpt-lab/linear", name="linear", what="a linear reader", sees=f"{name} reads lines",
            witnesses=(Witness("word", f"{name} reads lines"),),
            candidate=Candidate(
                name="linear", config=LinearConfig(inputs=shape[1]), origin={"inputs": "inferred"},
                placements=(Placement("weight", name),),
            ),
        )
"""
OURS = {
    "conv.0.weight": (32, 4, 8, 8), "conv.0.bias": (32,), "conv.2.weight": (64, 32, 4, 4), "conv.2.bias": (64,),
    "conv.4.weight": (64, 64, 3, 3), "conv.4.bias": (64,), "fc.0.weight": (512, 3136), "fc.0.bias": (512,),
}  # fmt: skip


def rival(word: str) -> str:
    """Return the text of a plug-in that claims networks with a word in their names."""
    recognise = RIVAL.replace("WORD", repr(word)).replace("from ckpt_lab_config import LinearConfig\n", "")
    return PLUG_IN.partition("FAMILY")[0] + recognise + "FAMILY" + PLUG_IN.partition("FAMILY")[2].replace(
        "\n)", "\n    recognise=recognise,\n)"
    )  # fmt: skip


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs a package with one entry point for families."""

    def install(name: str, value: str, text: str) -> None:
        (tmp_path / "ckpt_lab.py").write_text(text)
        info = tmp_path / "ckpt_lab-1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ckpt-lab\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[ckptfmt.families]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)
        sys.modules.pop("ckpt_lab", None)
        registry._plugged_in.cache_clear()

    yield install
    registry._plugged_in.cache_clear()
    sys.modules.pop("ckpt_lab", None)


def test_every_family_of_ours_is_found_under_its_name():
    assert "atari-dqn" in registry.names()
    for name in registry.names():
        family = registry.find(name)
        assert family.name == name == family.config.family
        assert family.about


def test_the_atari_dqns_are_found():
    assert registry.find("atari-dqn") is FAMILY


@pytest.mark.parametrize("name", ["registry", "encoder", "os", "ckptfmt", "lab/linear", "../x", "atari_dqn", "", "a.b"])
def test_a_name_of_nothing_installed_is_no_family(name):
    before = set(sys.modules)
    assert registry.find(name) is None
    assert not {module for module in set(sys.modules) - before if module.startswith(("lab", "ckptfmt"))}


def test_a_family_of_another_package_is_found_by_its_entry_point(installed):
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", PLUG_IN)
    assert "ckpt-lab/linear" in registry.names()
    assert "ckpt_lab" not in sys.modules
    family = registry.find("ckpt-lab/linear")
    assert family is not None
    assert family.tensors(family.config.from_dict({"inputs": 3})) == {"weight": (1, 3)}


def test_a_plug_in_cannot_take_the_name_of_a_family_of_ours(installed):
    installed("atari-dqn", "ckpt_lab:FAMILY", PLUG_IN)
    assert registry.find("atari-dqn") is FAMILY


def test_a_plug_in_that_registers_another_name_is_no_family(installed):
    installed("lab/other", "ckpt_lab:FAMILY", PLUG_IN)
    assert registry.find("lab/other") is None


def test_a_broken_plug_in_is_named(installed):
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", "raise OSError('no licence')")
    with pytest.raises(CkptError) as caught:
        registry.find("ckpt-lab/linear")
    assert str(caught.value) == (
        "the plug-in for the family ckpt-lab/linear cannot be imported: no licence; mend or uninstall ckpt_lab:FAMILY"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import sys; sys.exit(0)", "SystemExit"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute", "Mute"),
        ("raise OSError", "OSError"),
    ],
)
def test_a_plug_in_that_would_end_the_program_or_cannot_say_why_is_broken(installed, body, said):
    mend = "mend or uninstall ckpt_lab:FAMILY"
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", body)
    with pytest.raises(CkptError) as caught:
        registry.find("ckpt-lab/linear")
    assert str(caught.value) == f"the plug-in for the family ckpt-lab/linear cannot be imported: {said}; {mend}"
    inner = "".join(f"    {line}\n" for line in body.splitlines())
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", rival("lines").replace("    told =", f"{inner}    told ="))
    with pytest.raises(CkptError) as caught:
        classify({"lines.weight": (1, 7)})
    fails = "fails to recognise networks"
    assert str(caught.value) == f"the plug-in for the family ckpt-lab/linear {fails}: {said}; {mend}"


@pytest.mark.parametrize("body", ["1 / 0", "exit(0)"])
def test_a_plug_in_that_breaks_over_a_config_is_named(installed, body):
    text = PLUG_IN.replace("FAMILY = Family(", f"def tensors(config):\n    {body}\n\nFAMILY = Family(")
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", re.sub(r"tensors=.*", "tensors=tensors,", text))
    family = registry.find("ckpt-lab/linear")
    with pytest.raises(CkptError, match="the plug-in for the family ckpt-lab/linear fails to say what a config means"):
        Blueprint.of(family.config.from_dict({"inputs": 3})).tensors()


def test_an_entry_point_is_what_this_test_takes_it_for():
    assert EntryPoint("ckpt-lab/linear", "ckpt_lab:FAMILY", registry.GROUP).module == "ckpt_lab"


def test_a_plug_in_that_recognises_networks_claims_what_nothing_else_does(installed):
    shapes = {"lines.weight": (1, 7)}
    assert classify(shapes).architecture is None
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", rival("lines"))
    answer = classify(shapes)
    assert answer.architecture == "linear"
    assert answer.chosen.config.to_dict() == {"inputs": 7}
    assert answer.chosen.config.family == "ckpt-lab/linear"


@pytest.mark.parametrize("head", ["q_lines", "lines"])
def test_a_plug_in_does_not_overrule_a_family_of_ours(installed, head):
    shapes = OURS | {f"{head}.weight": (6, 512), f"{head}.bias": (6,)}
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", rival("lines"))
    answer = classify(shapes, context=("dqn",))
    assert answer.architecture is None
    assert answer.refusal == (
        f"{head}.weight reads lines, and 'dqn' is a name of a Q-network: it may be a linear reader or "
        "a Q-network (dqn)"
    )  # fmt: skip


def test_a_plug_in_that_fails_to_recognise_is_named(installed):
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", rival("lines").replace("told[0], seen", "told[5], seen"))
    with pytest.raises(CkptError) as caught:
        classify({"lines.weight": (1, 7)})
    assert str(caught.value) == (
        "the plug-in for the family ckpt-lab/linear fails to recognise networks: list index out of range; "
        "mend or uninstall ckpt_lab:FAMILY"
    )


def test_a_plug_in_that_proposes_for_another_family_is_named(installed):
    text = rival("lines").replace('family="ckpt-lab/linear", name="linear"', 'family="atari-dqn", name="dqn"')
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", text)
    with pytest.raises(CkptError, match="proposes networks that are not of it; mend or uninstall ckpt_lab:FAMILY"):
        classify({"lines.weight": (1, 7)})


def test_a_name_that_is_not_of_its_distribution_is_passed_over(installed):
    installed("other-lab/linear", "ckpt_lab:FAMILY", PLUG_IN.replace("ckpt-lab/linear", "other-lab/linear"))
    assert registry.names() == registry.own()
    assert registry.find("other-lab/linear") is None


def test_the_schema_of_a_plug_in_is_printed_as_those_of_ours_are(installed, capsys):
    installed("ckpt-lab/linear", "ckpt_lab:FAMILY", PLUG_IN)
    assert main(["schema", "ckpt-lab/linear"]) == 0
    assert json.loads(capsys.readouterr().out) == config_schema(registry.find("ckpt-lab/linear").config)
    assert main(["schema", "--list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ckpt-lab/linear  version 1"
