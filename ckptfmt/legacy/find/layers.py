"""What a whole module says of its layers beside their weights: strides, paddings, activations, strangers.

A state dict does not have this; where it is known, nothing of it needs to be assumed.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.evidence import BLOCK_LAYERS, Window, Wiring
from ckptfmt.families.names import words
from ckptfmt.legacy.find import modules
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Parts", "wiring"]

_SCRIPTED = "__torch__."
_TORCH = "torch.nn."
# Classes of torch that compute nothing when a network plays, or nothing beside what their weights show.
_NEUTRAL = frozenset({
    "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "Module", "DataParallel",
    "DistributedDataParallel", "Linear", "LazyLinear", "NonDynamicallyQuantizableLinear", "Conv2d", "LazyConv2d",
    "Flatten", "Unflatten", "Identity", "Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout",
})  # fmt: skip
# The activations we rebuild, by torch's class.
_ACTIVATIONS = {activation.layer: activation for activation in ACTIVATIONS.values()}
_CELLS = frozenset({"LSTM", "LSTMCell", "GRU", "GRUCell", "RNN", "RNNCell"})
_ANY_ACTIVATION = frozenset({"act", "activ", "activation", "activations", "nonlinearity"})
_SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
# What a convolution has to have that is rebuilt here; others compute something else with the same weights.
_PLAIN = {"dilation": (1, 1), "groups": 1, "padding_mode": "zeros", "transposed": False}


class Parts:
    """The modules of a module by their places, for as many networks as are in it."""

    def __init__(self, module: Opaque) -> None:
        self._all = list(modules.walk(module))
        self._order = sorted(range(len(self._all)), key=self._place)

    def below(self, prefix: str) -> list[tuple[str, Opaque]]:
        """Return (place, module) of those whose places begin with `prefix`, in their order."""
        first = last = bisect_left(self._order, prefix, key=self._place)
        while last < len(self._order) and self._place(self._order[last]).startswith(prefix):
            last += 1
        return [self._all[i] for i in sorted(self._order[first:last])]

    def _place(self, i: int) -> str:
        return self._all[i][0]


def wiring(parts: Parts, prefix: str = "") -> Wiring:
    """Return what a pickled or scripted module says of the layers whose names begin with `prefix`."""
    windows: dict[str, Window] = {}
    activations: dict[str, None] = {}
    strangers: list[str] = []
    called: set[str] = set()
    softmax = False
    found = parts.below(prefix)
    inner, ends, placed = _placed(found)
    for path, node in found:
        kind = _kind(node.name)
        softmax = softmax or kind in _SOFTMAX
        if kind in _ACTIVATIONS and path not in ends:
            activations[_ACTIVATIONS[kind].name] = None
            called |= {*words(path)}
        strangers = strangers or _strange(node, kind)
        if (window := _window(node.state)) is not None:
            windows[f"{path.removeprefix(prefix)}weight"] = window
    if len(activations) > 1:
        strangers.append(f"both {' and '.join(activations)}")
    squash = {*ends.values()}
    if squash - {"tanh"} or len(ends) > 1:
        strangers.append(f"the activation {min(squash)} behind a head")
    # A Tanh that lies nowhere in particular is mostly that of the action, unless it is called what any activation is.
    unlikely = set() if called & _ANY_ACTIVATION else {"tanh"}
    likely = inner if placed else next(iter(activations.keys() - unlikely), "")
    return Wiring(
        windows=windows,
        activation=likely,
        activation_origin="inferred" if placed else "assumed",
        squash="tanh" if squash else "",
        softmax=softmax,
        # What no network has comes before what only the eight have not.
        stranger=min(strangers, key=lambda what: what in BLOCK_LAYERS, default=""),
    )


def _placed(found: Sequence[tuple[str, Opaque]]) -> tuple[str, dict[str, str], bool]:
    """Return the activation behind hidden layers, those behind heads by their places, and whether all are seen.

    Only a Sequential shows what follows a layer; a module that is an attribute may be called anywhere, or never.
    """
    layers = {path: shape for path, node in found if (shape := _weighed(node))}
    behind: dict[str, tuple[list[str], bool]] = {}
    rows: dict[str, int] = {}
    for i, row in enumerate(_sequences(found)):
        for j, (path, _) in enumerate(row):
            if path in layers:
                following = list(takewhile(lambda item: item[0] not in layers, row[j + 1 :]))
                acts = [place for place, node in following if _kind(node.name) in _ACTIVATIONS]
                behind[path], rows[path] = (acts, len(following) < len(row) - j - 1), i
    kinds = {path: _ACTIVATIONS[_kind(node.name)].name for path, node in found if _kind(node.name) in _ACTIVATIONS}
    inner: set[str] = set()
    ends: dict[str, str] = {}
    for path, shape in layers.items():
        acts, leads = behind.get(path, ([], False))
        others = (size for other, size in layers.items() if rows.get(other, other) != rows.get(path, path))
        if leads or len(shape) > 2 or any(size[1] == shape[0] for size in others if len(size) == 2):
            inner.add(kinds[acts[0]] if len(acts) == 1 else "")
        else:
            ends |= {act: kinds[act] for act in acts}
    return (*inner, "")[0], ends, len(inner) == 1 and "" not in inner


def _weighed(node: Opaque) -> tuple[int, ...]:
    """Return the shape of the weight of a linear layer or a convolution, () for another module."""
    if _kind(node.name) in _CELLS:
        return ()
    return next((tuple(item.shape) for _, item in modules.own(node) if len(item.shape) > 1), ())


def _sequences(found: Sequence[tuple[str, Opaque]]) -> Iterator[list[tuple[str, Opaque]]]:
    """Yield what lies in each Sequential in its order, what those inside it hold among it."""
    whole = [path for path, node in found if _kind(node.name) == "Sequential"]
    for first in whole:
        if not any(first != path and first.startswith(path) and _unbroken(first, path, whole) for path in whole):
            yield [(path, node) for path, node in found
                   if path.startswith(first) and path not in whole and _unbroken(path, first, whole)]  # fmt: skip


def _unbroken(path: str, first: str, whole: Sequence[str]) -> bool:
    """Whether each module from `first` down to the one that holds a place is a Sequential."""
    pieces = path.removeprefix(first).split(".")[:-2]
    return all(first + ".".join(pieces[: i + 1]) + "." in whole for i in range(len(pieces)))


def _kind(name: str) -> str:
    """Return the class of a layer of torch, "" for a class of somebody else."""
    plain = name.removeprefix(_SCRIPTED)
    if not plain.startswith(_TORCH) or plain.startswith("torch.nn.modules.loss."):
        return ""
    return plain.rpartition(".")[2]


def _strange(node: Opaque, kind: str) -> list[str]:
    """Return what none of our networks has: another layer, a constant that we do not rebuild."""
    state = node.state
    if kind in _ACTIVATIONS:
        wanted = _ACTIVATIONS[kind].constants
        hidden = node.name.startswith(_SCRIPTED) and bool(wanted)
        other = [name for name, value in wanted.items() if state.get(name, value) != value]
        return (
            [f"{_a(kind)} of which the constants cannot be read"]
            if hidden
            else [f"{_a(kind)} of its own"] * bool(other)
        )
    if "kernel_size" in state and "groups" in state:
        odd = [name for name, value in _PLAIN.items() if _pair(state.get(name, value)) != value]
        return [f"a convolution of which the {odd[0]} is {printable(state[odd[0]], 80)}"] if odd else []
    return [_a(kind)] if kind and kind not in _NEUTRAL and kind not in _SOFTMAX else []


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIO' else 'a'} {kind}"


def _window(state: Mapping[Any, Any]) -> Window | None:
    """Return (stride, padding) of a convolution that keeps them; None where they are no squares of pixels."""
    if not {"kernel_size", "stride", "padding"} <= state.keys():
        return None
    kernel, stride, padding = _side(state["kernel_size"]), _side(state["stride"]), _side(state["padding"])
    if state["padding"] == "valid":
        padding = 0
    if state["padding"] == "same" and stride == 1 and kernel is not None and kernel % 2:
        # An odd kernel of stride 1 keeps its size with half of itself on each side.
        padding = kernel // 2
    return None if stride is None or padding is None or stride < 1 else (stride, padding)


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) and len(value) == 2 else value


def _side(value: Any) -> int | None:
    """Return the length of both sides of a square, at most 255 pixels; None for anything else."""
    pair = (value, value) if type(value) is int else _pair(value)
    square = isinstance(pair, tuple) and len(pair) == 2 and type(pair[0]) is int and pair[0] == pair[1]
    # No kernel, stride or padding of a network that plays is larger than its screen.
    return pair[0] if square and 0 <= pair[0] < 256 else None
