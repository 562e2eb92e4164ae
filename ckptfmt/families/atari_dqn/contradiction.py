"""What the user or the file's own config says against what the weights show, both sides named."""

from collections.abc import Sequence
from typing import Any

from ckptfmt.families.atari_dqn.config import ARCHITECTURES
from ckptfmt.families.atari_dqn.heads import Reading
from ckptfmt.families.atari_dqn.topology import Fit
from ckptfmt.families.evidence import Facts
from ckptfmt.format.safetensors import shape_text

__all__ = ["ends", "find"]

_PROPERTIES = ("dueling", "distributional", "noisy")
_FIELDS = {"dueling": "dueling_dqn", "distributional": "distributional_dqn", "noisy": "noisy_networks"}


def find(possible: Sequence[Reading], fit: Fit, facts: Facts) -> str:
    """Return one sentence about the first fact that no possible reading of the weights agrees with, or ""."""
    checks = (_architecture, _actions, _atoms)
    if said := next((text for check in checks if (text := check(possible, facts))), ""):
        return said
    channels = fit.topology.convs[0][1]
    if facts.input_shape is not None and facts.input_shape[0] != channels:
        return _says(
            facts,
            "input_shape",
            shape_text(facts.input_shape),
            f"the first convolution takes {channels} channels",
        )
    return ""


def _architecture(possible: Sequence[Reading], facts: Facts) -> str:
    said = facts.architecture
    names = [reading.architecture for reading in possible]
    if said is None or said in names:
        return ""
    if said not in ARCHITECTURES:
        return f"{_said(facts, 'architecture', said)}, which is none of {', '.join(ARCHITECTURES)}"
    if "architecture" not in facts.declared:
        return f"{_said(facts, 'architecture', said)}, the weights are {names[0]}"
    for word in _PROPERTIES:
        is_, should = word in names[0].split("+"), word in said.split("+")
        if is_ != should:
            weights = f"are {word}" if is_ else f"are not {word}"
            return f"the file's config says {_FIELDS[word]} is {str(should).lower()}, its weights {weights}"
    return ""


def _actions(possible: Sequence[Reading], facts: Facts) -> str:
    if facts.n_action is None or any(reading.n_action == facts.n_action for reading in possible):
        return ""
    return _says(facts, "n_action", facts.n_action, f"the weights have {possible[0].n_action} actions")


def _atoms(possible: Sequence[Reading], facts: Facts) -> str:
    atoms = [reading.n_atoms for reading in possible if reading.n_atoms is not None]
    if facts.n_atoms is None or not atoms or facts.n_atoms in atoms:
        return ""
    return _says(facts, "n_atoms", facts.n_atoms, f"the weights have {atoms[0]} atoms")


def ends(facts: Facts, v_min: float, v_max: float) -> str:
    """Return what is said of v_min and v_max against the support (v_min, v_max) of the file, or ""."""
    # A support is float32, often made by adding its step up; nobody means other ends by a thousandth.
    slack = 1e-3 * (v_max - v_min)
    for name, said, found in (("v_min", facts.v_min, v_min), ("v_max", facts.v_max, v_max)):
        if said is not None and abs(said - found) > slack:
            return _says(facts, name, f"{said:g}", f"the support has {found:g}")
    return ""


def _says(facts: Facts, name: str, value: Any, found: str) -> str:
    return f"{_said(facts, name, value)}, {found}"


def _said(facts: Facts, name: str, value: Any) -> str:
    return f"the file's config says {name} is {value}" if name in facts.declared else f"{name} is given as {value}"
