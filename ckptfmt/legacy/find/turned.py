"""Weights that libraries beside PyTorch keep the other way round: (inputs, outputs), (height, width, inputs, outputs).

Flax and Keras call such a weight a kernel. Elsewhere (Haiku, TensorFlow, Paddle) the shapes say it: a bias has as many
numbers as its layer has outputs. Nothing is turned unless every layer of a network agrees. Where tensors have no names
but their places in a list, each bias follows its weight.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from ckptfmt.legacy.bytes.storages import LegacyTensor

__all__ = ["as_torch", "is_turned"]

_KERNELS = frozenset({"kernel"})
_WEIGHTS = frozenset({"w", "weights", "weight"})
_BIASES = frozenset({"bias", "b", "biases"})
# (height, width, inputs, outputs) to (outputs, inputs, height, width).
_AXES = {2: (1, 0), 4: (3, 2, 0, 1)}
_NUMBERED = ":0"
# Layers of agents; what has more tensors is none of a network that is told.
_MOST = 400


def as_torch(tensors: dict[str, LegacyTensor]) -> dict[str, LegacyTensor]:
    """Return a network's tensors as PyTorch has them, by PyTorch's names; as they are where they are so already."""
    if len(tensors) > _MOST:
        return tensors
    pairs = dict(_listed(tensors) or _pairs(tensors))
    named = any(_split(weight)[1] in _KERNELS for weight in pairs)
    if not pairs or not (named or _agree(tensors, pairs)):
        return tensors
    stems = {name: f"{weight}." if weight.isdigit() else _split(weight)[0] for weight, name in pairs.items()}
    found: dict[str, LegacyTensor] = {}
    for name, tensor in tensors.items():
        if name in pairs:
            stem = f"{name}." if name.isdigit() else _split(name)[0]
            found[f"{stem}weight"] = replace(_turned(tensor, tensors.get(pairs[name])), source=name)
        elif name in stems:
            found[f"{stems[name]}bias"] = replace(tensor.squeeze(), source=name, was=tensor)
        else:
            found[name.replace("/", ".").removesuffix(_NUMBERED)] = replace(tensor, source=name)
    # Where two names become one, nothing is turned rather than one lost.
    return found if len(found) == len(tensors) else tensors


def is_turned(tensors: Mapping[str, LegacyTensor]) -> bool:
    """Whether these were convolutions with the channels last, behind which features are flattened so too."""
    return any(len(tensor.turned) == 4 for tensor in tensors.values())


def _turned(weight: LegacyTensor, bias: LegacyTensor | None) -> LegacyTensor:
    last = bias is None or weight.shape[-1] == bias.size
    if len(weight.shape) == 4 and bias is not None and weight.shape[0] == bias.size:
        # Where both ends are as many as the outputs, the square is the kernel.
        last = last and weight.shape[0] == weight.shape[1] and weight.shape[2] != weight.shape[3]
    return weight.turn(_AXES[len(weight.shape)]) if last else weight


def _listed(tensors: Mapping[str, LegacyTensor]) -> dict[str, str]:
    """Return the weight of each layer with its bias, where tensors are named by their places alone."""
    if not tensors or not all(name.isdigit() for name in tensors):
        return {}
    rows = list(tensors.items())
    return {
        one: other
        for (one, weight), (other, bias) in pairwise(rows)
        # A tensor whose only long side is all of it would be a bias itself.
        if len(weight.shape) in _AXES and weight.size != max(weight.shape) and bias.size == max(bias.shape, default=0)
    }


def _pairs(tensors: Mapping[str, LegacyTensor]) -> Iterator[tuple[str, str]]:
    """Yield the name of each weight with that of its bias, "" for none."""
    biases = {stem: name for name, tensor in tensors.items() for stem, leaf in [_split(name)] if _is_bias(leaf, tensor)}
    for name, tensor in tensors.items():
        stem, leaf = _split(name)
        if len(tensor.shape) in _AXES and leaf in (_KERNELS | _WEIGHTS) and (stem in biases or leaf in _KERNELS):
            yield name, biases.get(stem, "")


def _is_bias(leaf: str, tensor: LegacyTensor) -> bool:
    # Stable-Baselines 2 keeps those of convolutions as (1, channels, 1, 1).
    return leaf in _BIASES and tensor.size == max(tensor.shape, default=0)


def _agree(tensors: Mapping[str, LegacyTensor], pairs: Mapping[str, str]) -> bool:
    """Whether the linear layers show by their biases that outputs come last: all may, and one must."""
    linear = [(tensors[weight].shape, tensors[bias].size) for weight, bias in pairs.items() if bias]
    linear = [(shape, size) for shape, size in linear if len(shape) == 2]
    # Square layers fit both ways and decide nothing.
    return all(shape[1] == size for shape, size in linear) and any(shape[0] != size for shape, size in linear)


def _split(name: str) -> tuple[str, str]:
    """Return what stands before the last part of a name, with a full stop, and that part."""
    stem, _, leaf = name.replace("/", ".").removesuffix(_NUMBERED).rpartition(".")
    return (f"{stem}." if stem else ""), leaf
