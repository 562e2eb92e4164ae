"""The plain network behind harmless extras: second names, counters, weights in parts, biases that were left out.

None of this changes what a network computes: what is made follows exactly from what is there. So a network may be
told by it; where none is told, a file keeps all that it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptfmt.convert.gates import cells
from ckptfmt.convert.parts import Room, dense, wholes
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.dtypes import WHOLE
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor

__all__ = ["Tidied", "Workshop", "tidy"]

# Bytes of the zeros that are made for biases of one source.
_MOST_ZEROS = 64 << 20
_Layer = Mapping[str, LegacyTensor]


@record
class Tidied:
    """The tensors of the plain network; `dropped` names those it does without, with reasons, `made` new ones."""

    tensors: Mapping[str, LegacyTensor]
    dropped: Mapping[str, str]
    made: frozenset[str]


@dataclass(slots=True)
class Workshop:
    """What tidying the networks of one source may cost: numbers computed, bytes made; tensors are hashed once."""

    room: Room = field(default_factory=Room)
    zeros: int = _MOST_ZEROS
    digests: dict[object, str] = field(default_factory=dict)


def tidy(tensors: Mapping[str, LegacyTensor], workshop: Workshop | None = None) -> Tidied | None:
    """Return the plain network, None where there is nothing that it could do without.

    Networks of one source share a `workshop`.
    """
    workshop = workshop or Workshop()
    found = dict(tensors)
    dropped = {name: "a counter" for name, tensor in found.items() if not tensor.shape and tensor.dtype in WHOLE}
    found = {name: tensor for name, tensor in found.items() if name not in dropped}
    found, parts, made = _joined(found, workshop)
    second = dict.fromkeys(_second_names(found, workshop), "a second name of another layer")
    found = {name: tensor for name, tensor in found.items() if name not in second}
    found, biases = _with_biases(found, workshop)
    dropped |= parts | second
    return Tidied(found, dropped, frozenset(made | biases)) if dropped or made or biases else None


def _joined(tensors: _Layer, workshop: Workshop) -> tuple[dict[str, LegacyTensor], dict[str, str], set[str]]:
    """Return the tensors with each weight in the place of its first part, the parts with reasons, the new names."""
    joined = list(cells(tensors, workshop.room))
    whole = {item.parts[0]: item for item in (*wholes(tensors, workshop.room), *joined) if item.parts}
    parts = {name: item.reason for item in whole.values() for name in item.parts}
    # A side of a cell whose biases are all left out has zeros, which are made of nothing.
    found = {item.name: item.tensor for item in joined if not item.parts}
    for name, tensor in tensors.items():
        if name in whole:
            found[whole[name].name] = whole[name].tensor
        elif name not in parts:
            found[name] = tensor
    return found, parts, {item.name for item in (*whole.values(), *joined)}


def _second_names(tensors: _Layer, workshop: Workshop) -> list[str]:
    """Return the tensors of layers that are other layers once more: the same tensors, or equal byte for byte."""
    layers: dict[str, dict[str, LegacyTensor]] = {}
    for name, tensor in tensors.items():
        stem, dot, leaf = name.rpartition(".")
        layers.setdefault(stem + dot, {})[leaf] = tensor
    alike: dict[object, list[str]] = {}
    for stem, layer in layers.items():
        alike.setdefault(frozenset((leaf, t.dtype, t.shape) for leaf, t in layer.items()), []).append(stem)
    found: list[str] = []
    # Only layers of one form can be equal: no others are hashed.
    for stems in alike.values():
        first: dict[object, str] = {}
        for stem in stems if len(stems) > 1 and all(stems) else ():
            kept = first.setdefault(_content(layers[stem], workshop), stem)
            if kept != stem and (_is_tied(layers[stem], layers[kept]) or _tells(layers[stem])):
                found += [stem + leaf for leaf in layers[stem]]
    return found


def _content(layer: _Layer, workshop: Workshop) -> tuple[str, ...]:
    return tuple(_digest(layer[leaf], workshop) for leaf in sorted(layer))


def _digest(tensor: LegacyTensor, workshop: Workshop) -> str:
    if tensor.identity not in workshop.digests:
        hasher = new_blake3()
        for chunk in tensor.chunks():
            hasher.update(chunk)
        workshop.digests[tensor.identity] = str(hasher.hexdigest())
    return workshop.digests[tensor.identity]


def _is_tied(one: _Layer, other: _Layer) -> bool:
    return all(tensor.identity == other[leaf].identity for leaf, tensor in one.items())


def _tells(layer: _Layer) -> bool:
    """Say whether equal bytes mean the same layer: a matrix whose numbers are not all one number."""
    for tensor in layer.values():
        if len(tensor.shape) > 1 and tensor.size > 1:
            start = next(iter(tensor.chunks()))
            if start != start[: tensor.width] * (len(start) // tensor.width):
                return True
    return False


def _with_biases(tensors: _Layer, workshop: Workshop) -> tuple[dict[str, LegacyTensor], set[str]]:
    """Return the tensors with zeros where layers were made without biases, and the names of those.

    All linear layers or all convolutions are made so, or none: one bias that is not there was lost.
    """
    weights = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] == "weight"}
    biased = {len(tensor.shape) for name, tensor in weights.items() if _bias_of(name) in tensors}
    found: dict[str, LegacyTensor] = {}
    made: set[str] = set()
    for name, tensor in tensors.items():
        found[name] = tensor
        # Matrices of linear layers have 2 dimensions, kernels of convolutions 4.
        if name in weights and len(tensor.shape) in {2, 4} - biased:
            size = tensor.shape[0] * tensor.width
            workshop.zeros -= size
            if workshop.zeros < 0:
                return dict(tensors), set()
            found[_bias_of(name)] = dense(bytes(size), tensor.dtype, tensor.shape[:1])
            made.add(_bias_of(name))
    return found, made


def _bias_of(weight: str) -> str:
    return f"{weight.removesuffix('weight')}bias"
