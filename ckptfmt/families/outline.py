"""The outline of a network: its layers by path, rows of layers that follow one another, and how rows may be strung.

Names only say which layers lie in one row and in what order; that one layer takes what another gives follows
from shapes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

from ckptfmt.families.names import words
from ckptfmt.families.statistics import Statistics, find_statistics
from ckptfmt.format.record import record

__all__ = ["Chain", "Outline", "Row", "Unit", "fits"]

Shape = tuple[int, ...]
UnitKind = Literal["linear", "noisy", "conv", "cell", "norm", "batch norm", "vector", "strange"]

_LEAF = re.compile(
    r"(?:(?P<stem>.*?)_)?(?P<leaf>weight_ih|weight_hh|bias_ih|bias_hh|weight_mu|weight_sigma|bias_mu|bias_sigma|"
    r"weight_epsilon|bias_epsilon|epsilon_input|epsilon_output|running_mean|running_var|num_batches_tracked|"
    r"weight|bias)(?P<layer>_l\d+)?"
)
_RESIDUAL = re.compile(r"res(net|idual|block|b)?s?")
_NUMBER = re.compile(r"\d+")
_NOISY = frozenset({"weight_mu", "weight_sigma", "bias_mu", "bias_sigma"})
_NOISE = frozenset({"weight_epsilon", "bias_epsilon", "epsilon_input", "epsilon_output"})
# How many matrices torch stacks in the weight of a cell.
_GATES = {4: "lstm", 3: "gru"}
_NORMS = ("norm", "batch norm")
# More layers than this are no one network.
_MOST_UNITS = 400

# The path of a layer that is all of a file; no name has this in it.
_ROOT = ("\0",)


@record(eq=False)
class Unit:
    """One layer: its path, the parts of it by what they are ("weight"), and how many numbers go in and out."""

    path: tuple[str, ...]
    kind: UnitKind
    parts: Mapping[str, str]
    shape: Shape
    inputs: int = 0
    outputs: int = 0
    cell: str = ""
    layers: int = 1
    norm: "Unit | None" = None

    @property
    def name(self) -> str:
        """The name of its first tensor, for sentences."""
        return next(iter(self.parts.values()))

    @property
    def is_residual(self) -> bool:
        """Whether its path speaks of residual blocks."""
        return any(_RESIDUAL.fullmatch(word) for piece in self.path for word in words(piece))

    @property
    def sources(self) -> Iterator[str]:
        """The names of all its tensors."""
        yield from self.parts.values()
        if self.norm is not None:
            yield from self.norm.parts.values()


@record(eq=False)
class Row:
    """Layers of one module that follow one another; `words` are those of their path."""

    units: tuple[Unit, ...]

    @property
    def path(self) -> tuple[str, ...]:
        """The path of its first layer."""
        return self.units[0].path

    @property
    def words(self) -> tuple[str, ...]:
        """The words of its path, without numbers."""
        return tuple(word for piece in self.path for word in words(piece) if not word.isdigit())

    @property
    def outputs(self) -> int:
        """What its last layer gives."""
        return self.units[-1].outputs


@record
class Chain:
    """Layers from what is seen to where they end: those in a row, and the heads that take what the last one gives."""

    units: tuple[Unit, ...]
    heads: tuple[Unit, ...]

    @property
    def inputs(self) -> int:
        """What its first layer takes: features, or channels."""
        return (self.units or self.heads)[0].inputs

    @property
    def features(self) -> int:
        """What its heads take."""
        return self.heads[0].inputs

    @property
    def is_pixels(self) -> bool:
        """Whether it begins with a convolution."""
        return bool(self.units) and self.units[0].kind == "conv"

    @property
    def signature(self) -> tuple[tuple[str, Shape], ...]:
        """What two copies of it have in common."""
        return tuple((unit.kind, unit.shape) for unit in (*self.units, *self.heads))

    @property
    def sources(self) -> Iterator[str]:
        """The names of all its tensors."""
        for unit in (*self.units, *self.heads):
            yield from unit.sources


@record(slots=False)
class Outline:
    """The layers of a file: `rows` of those with weights, and `vectors`, which belong to none."""

    shapes: Mapping[str, Shape]
    noise: list[str] = field(default_factory=list)

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All layers in the order of the file, normalisations beside what they follow left out."""
        found = [_unit(path, parts, self.shapes) for path, parts in self._members.items()]
        return tuple(_with_norms(found))

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The layers in rows, in the order of the file."""
        by_place: dict[tuple[str, ...], list[Unit]] = {}
        for unit in self.units:
            if unit.kind in ("linear", "noisy", "conv", "cell"):
                by_place.setdefault(_place(unit), []).append(unit)
        rows = [Row(tuple(part)) for units in by_place.values() for part in _following(units)]
        order = {unit.path: i for i, unit in enumerate(self.units)}
        return tuple(sorted(rows, key=lambda row: min(order[unit.path] for unit in row.units)))

    @cached_property
    def vectors(self) -> tuple[Unit, ...]:
        """Tensors that are a layer's neither weight nor bias."""
        return tuple(unit for unit in self.units if unit.kind == "vector")

    @cached_property
    def strange(self) -> str:
        """The name of a tensor that belongs to no layer that is known here, "" if there is none."""
        return next((unit.name for unit in self.units if unit.kind in ("strange", "norm", "batch norm")), "")

    @cached_property
    def statistics(self) -> tuple[Statistics, ...]:
        """Running statistics, which are no layer's."""
        return find_statistics(self.shapes)

    @cached_property
    def _members(self) -> dict[tuple[str, ...], dict[str, str]]:
        found: dict[tuple[str, ...], dict[str, str]] = {}
        if len(self.shapes) > _MOST_UNITS:
            return found
        apart = {name for item in self.statistics for name in (item.mean, item.spread, *item.extra)}
        for name in (name for name in self.shapes if name not in apart):
            # Layers may have empty names; to leave one out would make two of them one.
            *above, last = re.split(r"[./]", name)
            told = _LEAF.fullmatch(last)
            if told is None or (told["leaf"] not in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") and told["layer"]):
                found.setdefault((*above, last), {})["value"] = name
            elif told["leaf"] in _NOISE or told["leaf"] == "num_batches_tracked":
                self.noise.append(name)
            else:
                path = ((*above, told["stem"]) if told["stem"] else tuple(above)) or _ROOT
                found.setdefault(path, {})[told["leaf"] + (told["layer"] or "")] = name
        return found


def fits(one: Unit, other: Unit) -> bool:
    """Return whether a layer can take what another one gives; behind a convolution it may take its maps, flattened."""
    if one.kind == "conv" and other.kind != "conv":
        return other.inputs % one.outputs == 0
    return other.inputs == one.outputs and (other.kind != "conv" or one.kind == "conv")


def _place(unit: Unit) -> tuple[str, ...]:
    """What layers of one row have in common: the path, without a number at its end."""
    *above, last = unit.path or ("",)
    return (*above, re.sub(r"[._-]?\d+$", "", last), "cell" if unit.kind == "cell" else "")


def _following(units: list[Unit]) -> Iterator[list[Unit]]:
    """Part layers of one place where one does not take what the one before it gives."""
    ordered = sorted(units, key=lambda unit: [int(number) for number in _NUMBER.findall((unit.path or ("",))[-1])][-1:])
    part = ordered[:1]
    for one, other in pairwise(ordered):
        if fits(one, other) and one.kind != "cell":
            part.append(other)
        else:
            yield part
            part = [other]
    yield part


def _unit(path: tuple[str, ...], parts: Mapping[str, str], shapes: Mapping[str, Shape]) -> Unit:
    if len(parts) == 1 and {"value", "bias"} & parts.keys():
        shape = shapes[next(iter(parts.values()))]
        # A row of a batch, or of a batch of sequences, is a vector still.
        return Unit(path, "vector" if len(shape) <= 3 else "strange", parts, shape)
    if "weight_mu" in parts:
        shape = shapes[parts["weight_mu"]]
        if not parts.keys() >= _NOISY or len(shape) != 2 or shapes[parts["weight_sigma"]] != shape:
            return Unit(path, "strange", parts, shape)
        return Unit(path, "noisy", parts, shape, shape[1], shape[0])
    if any(part.startswith(("weight_ih", "weight_hh")) for part in parts):
        return _cell(path, parts, shapes)
    shape = shapes.get(parts.get("weight", ""), ())
    bias = shapes.get(parts.get("bias", ""))
    if "running_mean" in parts:
        # Weight, bias, mean and variance of the batches, one number a channel each.
        whole = len(parts) == 4 and len({shapes[name] for name in parts.values()}) == 1 and len(shape) == 1
        size = shape[0] if whole else 0
        return Unit(path, "batch norm" if whole else "strange", parts, shape, size, size)
    # Normalisations, linear layers and convolutions.
    if len(shape) not in (1, 2, 4) or bias != shape[:1] or 0 in shape or len(parts) != 2:
        return Unit(path, "strange", parts, shape)
    kind: UnitKind = {1: "norm", 2: "linear", 4: "conv"}[len(shape)]  # type: ignore[assignment]
    return Unit(path, kind, parts, shape, shape[-1] if len(shape) == 1 else shape[1], shape[0])


def _cell(path: tuple[str, ...], parts: Mapping[str, str], shapes: Mapping[str, Shape]) -> Unit:
    """A cell of torch, one or more layers of it; without a layer's number it is an LSTMCell or a GRUCell."""
    numbered = {part if "_l" in part else f"{part}_l0": name for part, name in parts.items()}
    # A layer of a cell has two weights and two biases.
    layers = len(numbered) // 4
    first, hidden = shapes.get(numbered.get("weight_ih_l0", ""), ()), shapes.get(numbered.get("weight_hh_l0", ""), ())
    strange = Unit(path, "strange", parts, first)
    if len(first) != 2 or len(hidden) != 2 or hidden[0] != first[0] or not hidden[1]:
        return strange
    gates, odd = divmod(hidden[0], hidden[1])
    wanted: dict[str, Shape] = {}
    for i in range(layers):
        wanted |= {f"weight_ih_l{i}": (hidden[0], hidden[1] if i else first[1]), f"weight_hh_l{i}": hidden}
        wanted |= {f"bias_ih_l{i}": hidden[:1], f"bias_hh_l{i}": hidden[:1]}
    if odd or gates not in _GATES or wanted != {part: shapes[name] for part, name in numbered.items()}:
        return strange
    return Unit(path, "cell", numbered, first, first[1], hidden[1], _GATES[gates], layers)


def _with_norms(units: Iterable[Unit]) -> list[Unit]:
    """Put each normalisation to the layer that it follows: the one before it in a row, or that of its number.

    One that the file has before its layer may be one of what that layer takes, unless that is not as wide.
    """
    found: list[Unit] = []
    for unit in units:
        homes = [i for i, one in enumerate(found) if _is_normed(one, unit)] if unit.kind in _NORMS else []
        if homes:
            found[homes[-1]] = replace(found[homes[-1]], norm=unit)
        else:
            found.append(unit)
    for norm in [unit for unit in found if unit.kind in _NORMS]:
        homes = [i for i, one in enumerate(found) if one.inputs != norm.outputs and _is_normed(one, norm)]
        if len(homes) == 1:
            found[homes[0]] = replace(found[homes[0]], norm=norm)
            found.remove(norm)
    return found


def _is_normed(one: Unit, norm: Unit) -> bool:
    if one.kind not in ("linear", "conv") or one.outputs != norm.outputs or one.norm is not None:
        return False
    if one.path[:-1] != norm.path[:-1]:
        return False
    mine, its = one.path[-1], norm.path[-1]
    if mine.isdigit() and its.isdigit():
        # In a row of modules what lies between two layers is an activation: behind one, it would come after it.
        return int(its) == int(mine) + 1
    return _NUMBER.findall(mine)[-1:] == _NUMBER.findall(its)[-1:]
