"""What the layers of a Keras model say of it: windows, activations, the divisor, and what no network here has.

What lies between layers that have weights is followed from one to the next; a layer of somebody's own code (Lambda) is
as silent as a forward pass of PyTorch, which no file shows either.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.evidence import Window, Wiring
from ckptfmt.format.record import record
from ckptfmt.legacy.containers.keraslayers import KerasLayer

__all__ = ["Wired", "wired"]

_DENSE, _CONV, _CELLS = "Dense", "Conv2D", {"LSTM": "an LSTM", "GRU": "a GRU"}
_WEIGHTED = frozenset({_DENSE, _CONV, *_CELLS})
# Layers that compute nothing when a network plays, or nothing beside what their weights show.
_NEUTRAL = frozenset({
    "InputLayer", "Flatten", "Dropout", "SpatialDropout2D", "GaussianNoise", "Lambda", "Concatenate", "Add", "Subtract",
    "Multiply", "Average", "Reshape", "RepeatVector", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "Masking",
    "NotEqual", "GetItem", "Mean", "Squeeze", "ExpandDims",
})  # fmt: skip
_ORDERED = "Permute"
# Where Keras has another constant than PyTorch, only a layer that says PyTorch's is the same.
_NAMES = {"swish": "silu", "linear": ""}
_SLOPES = {"negative_slope", "alpha"}


@record
class Wired:
    """What is said: `facts` hold fields of `Facts`, `more` those of some config."""

    wiring: Wiring = field(default_factory=Wiring)
    facts: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def wired(layers: Sequence[KerasLayer]) -> Wired:
    """Return what the layers of a model say, nothing where there are none."""
    found = list(_walk(layers, ""))
    acts = [(layer, *_behind(layer, after)) for _, layer, after in found if layer.kind in (_DENSE, _CONV)]
    inner = dict.fromkeys(act for _, given, leads in acts if leads for act in given)
    ends = dict.fromkeys(act for _, given, leads in acts if not leads for act in given)
    odd = (f"a layer {printable(layer.name, 60)} with {len(given)} activations" for layer, given, leads in acts
           if leads and len(given) != 1)  # fmt: skip
    strange = next(filter(None, (*(_strange(layer) for _, layer, _ in found), *odd, *_unlike(inner, ends))), "")
    wiring = Wiring(
        windows=dict(_windows(found)),
        activation="" if strange else next(iter(inner), ""),
        softmax="softmax" in ends,
        stranger=strange,
    )
    return Wired(wiring, _facts(found), {"squash": "tanh"} if "tanh" in ends and not strange else {})


def _behind(layer: KerasLayer, layers: Sequence[KerasLayer]) -> tuple[list[str], bool]:
    """Return the activations behind a layer, and whether another one that has weights takes what they give."""
    given = [_activation(layer.settings.get("activation")), *_following(layer, layers)]
    leads = layer.kind == _CONV or any(_leads_on(one, layers) for one in _next(layer, layers))
    return [act for act in given if act], leads


def _unlike(inner: Mapping[str, None], ends: Mapping[str, None]) -> Iterator[str]:
    """Yield what none of our networks has between its layers, or behind its heads."""
    yield from (f"the activation {printable(act, 60)}" for act in inner if act not in ACTIVATIONS)
    if len(inner) > 1:
        yield f"both {' and '.join(printable(act, 60) for act in inner)}"
    # Of several heads it is not said here whose it would be.
    known = ("softmax", "tanh") if len(ends) == 1 else ("softmax",)
    yield from (f"the activation {printable(act, 60)} behind a head" for act in ends if act not in known)


_Walked = tuple[str, KerasLayer, Sequence[KerasLayer]]


def _walk(layers: Sequence[KerasLayer], prefix: str) -> Iterator[_Walked]:
    """Yield the path of each layer, the layer, and all layers of the model that it is in."""
    for layer in layers:
        yield f"{prefix}{layer.name}", layer, layers
        yield from _walk(layer.layers, f"{prefix}{layer.name}.")


def _next(layer: KerasLayer, layers: Sequence[KerasLayer]) -> list[KerasLayer]:
    return [other for other in layers if layer.name in other.inputs]


def _leads_on(layer: KerasLayer, layers: Sequence[KerasLayer]) -> bool:
    """Whether this layer has weights, or one that takes what it gives."""
    seen: set[str] = set()
    waiting = [layer]
    while waiting:
        one = waiting.pop()
        if one.kind in _WEIGHTED or one.layers:
            return True
        if one.name not in seen:
            seen.add(one.name)
            waiting += _next(one, layers)
    return False


def _following(layer: KerasLayer, layers: Sequence[KerasLayer]) -> list[str]:
    """Return the activations that are layers of their own, before the next layer that has weights."""
    found: dict[str, str] = {}
    waiting, seen = _next(layer, layers), {layer.name}
    while waiting:
        one = waiting.pop()
        if one.kind in _WEIGHTED or one.name in seen:
            continue
        seen.add(one.name)
        if act := _own(one):
            found[one.name] = act
        waiting += _next(one, layers)
    return list(found.values())


def _own(layer: KerasLayer) -> str:
    """Return the activation that a layer without weights is, "" for another one."""
    if layer.kind == "Activation":
        return _activation(layer.settings.get("activation"))
    if layer.kind == "LeakyReLU":
        slope = next((layer.settings[name] for name in _SLOPES if name in layer.settings), None)
        return "leaky_relu" if slope == ACTIVATIONS["leaky_relu"].constants["negative_slope"] else "LeakyReLU"
    if layer.kind == "ReLU":
        plain = layer.settings.get("max_value") is None and not layer.settings.get("negative_slope")
        return "relu" if plain and not layer.settings.get("threshold") else "ReLU"
    if layer.kind == "ELU":
        return "elu" if layer.settings.get("alpha", 1.0) == 1.0 else "ELU"
    return "softmax" if layer.kind == "Softmax" else ""


def _activation(said: Any) -> str:
    """Return an activation by our name, "" for none; one that a dict describes by the name in it."""
    if isinstance(said, dict):
        said = said.get("config") if isinstance(said.get("config"), str) else said.get("class_name", "another")
    if said is None:
        return ""
    name = str(said)
    # Keras' own constant of it is 0.2.
    return "LeakyReLU" if name == "leaky_relu" else _NAMES.get(name, name)


def _strange(layer: KerasLayer) -> str:
    """Return what none of our networks has, "" if nothing."""
    if layer.kind in _CELLS:
        return _CELLS[layer.kind] if _is_plain_cell(layer) else f"{_CELLS[layer.kind]} of its own"
    if layer.kind == _CONV:
        plain = layer.settings.get("groups", 1) == 1 and _side(layer.settings.get("dilation_rate", 1)) == 1
        if layer.settings.get("data_format") == "channels_first":
            return "a convolution with its channels first"
        return "" if plain else "a convolution of which not every pixel is taken"
    if layer.kind == _ORDERED and layer.inputs:
        return "a layer that orders dimensions anew"
    known = layer.kind in _NEUTRAL or layer.kind == _DENSE or layer.kind == "Rescaling" or layer.layers or _own(layer)
    return "" if known or layer.kind in ("Activation", _ORDERED) else f"a layer {printable(layer.kind, 60)}"


def _is_plain_cell(layer: KerasLayer) -> bool:
    """Whether a cell computes what PyTorch's does."""
    said = layer.settings
    acts = _activation(said.get("activation", "tanh")), _activation(said.get("recurrent_activation", "sigmoid"))
    return acts == ("tanh", "sigmoid") and said.get("reset_after", True) is True and not said.get("go_backwards")


def _windows(found: Sequence[_Walked]) -> Iterator[tuple[str, Window]]:
    for path, layer, _ in found:
        stride = _side(layer.settings.get("strides")) if layer.kind == _CONV else None
        # Padding `same` may be more on one side than on the other: what fits it is told from the shapes.
        if stride is not None and layer.settings.get("padding") == "valid":
            yield f"{path}.weight", (stride, 0)


def _side(value: Any) -> int | None:
    sides = set(value) if isinstance(value, list) and value else {value}
    side = sides.pop() if len(sides) == 1 else None
    return side if type(side) is int and side > 0 else None


def _facts(found: Sequence[_Walked]) -> dict[str, Any]:
    """Return the size of an image that is seen, and its divisor where a layer divides by one."""
    said: dict[str, Any] = {}
    for _, layer, _ in found:
        shape = layer.settings.get("batch_shape") or layer.settings.get("batch_input_shape")
        if isinstance(shape, list) and len(shape) == 4 and all(type(size) is int and size > 0 for size in shape[1:]):
            # (any number, height, width, channels); where a layer puts the channels last, they come first here.
            first, second, third = shape[1:]
            said.setdefault("input_shape", (first, second, third) if first <= third else (third, first, second))
        factor = layer.settings.get("scale")
        if layer.kind == "Rescaling" and type(factor) is float and factor > 0 and not layer.settings.get("offset"):
            # A third of a byte is written with sixteen digits.
            said["input_scale"] = round(1 / factor, 6)
    return said
