"""What is seen of a network before anything is claimed: tensors grouped into layers, layers into parts.

A skeleton covers all that a family may go by: names and shapes, small tensors' values on request, what a whole
module says of its layers, the texts around the network and the other networks of its file.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property, reduce
from operator import and_
from typing import Literal

from ckptfmt.families.evidence import Facts, Wiring
from ckptfmt.families.names import Name, parse, words
from ckptfmt.format.record import record

__all__ = ["Copied", "Kind", "Layer", "Part", "Shape", "Shapes", "Skeleton", "Values", "several_choices"]

Shape = tuple[int, ...]
Values = Callable[[str], Sequence[float]]
# What a network with a target copy is called: a policy, or not; "" for one without.
Copied = Literal["", "policy", "network"]
Kind = Literal["convolution", "linear", "cell", "batch norm", "norm", "vector", "scalar", "other"]

_CELL = frozenset({"ih", "hh"})
_BATCH = frozenset({"running", "tracked"})
_KINDS: Mapping[int, Kind] = {0: "scalar", 1: "vector", 2: "linear", 4: "convolution"}


class Shapes(dict[str, Shape]):
    """The shapes of a network's tensors by their names, with what every other network of the file asks of them."""

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of all names."""
        return frozenset(word for name in self for word in words(name))

    @cached_property
    def sizes(self) -> list[Shape]:
        """The shapes in an order of their own, which copies have in common."""
        return sorted(self.values())


@record
class Layer:
    """The tensors of one layer: the words that their names share, and the shape of the weight, or of a vector.

    A weight is (out, in) or (out, in, height, width). `noisy` is true where there is a sigma beside the mean.
    """

    kind: Kind
    stem: tuple[str, ...]
    tensors: tuple[str, ...]
    shape: Shape
    noisy: bool = False

    @property
    def name(self) -> str:
        """The name of the layer's first tensor, for sentences."""
        return self.tensors[0]


@record
class Part:
    """The layers of a network whose names begin with one word: an actor, a critic, a trunk."""

    prefix: str
    layers: tuple[Layer, ...]


@record(kw_only=True, slots=False)
class Skeleton:
    """One network of a file, and what lies around it.

    `values` gives the numbers of a small tensor by name, None where they cannot be had. `context` are texts around
    the network (where it lay), `agents` what the file's own settings call its agent. `others` are the shapes of the
    other networks of the file by their paths, copies and optimizers left out; `copied` says as what this one is called
    where a target copy of it is among them, and `beside` the paths of all that is no copy, whatever it holds. `file`
    is the name of the file, which a person chose and may change. `choices` is a setting by which rows are bins, or
    those of several choices, "" where there is none.
    """

    shapes: Mapping[str, Shape]
    values: Values | None = None
    facts: Facts = field(default_factory=Facts)
    context: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    wiring: Wiring = field(default_factory=Wiring)
    others: Mapping[str, Shapes] = field(default_factory=dict)
    copied: Copied = ""
    beside: tuple[str, ...] = ()
    file: str = ""
    choices: str = ""

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in the order of the file: by their names where names have parts, else by their shapes."""
        if not self.named:
            return tuple(_by_order(self.shapes))
        taken = {name: parse(name) for name in self.shapes}
        return tuple(_layer(stem, names, self.shapes) for stem, names in _members(taken).items())

    @cached_property
    def linear(self) -> tuple[Layer, ...]:
        """The linear layers."""
        return tuple(layer for layer in self.layers if layer.kind == "linear")

    @cached_property
    def convolutions(self) -> tuple[Layer, ...]:
        """The layers of convolution."""
        return tuple(layer for layer in self.layers if layer.kind == "convolution")

    @cached_property
    def heads(self) -> tuple[Layer, ...]:
        """The linear layers whose rows no other one takes in: what leaves the network."""
        taken = {layer.shape[1] for layer in self.linear}
        return tuple(layer for layer in self.linear if not {layer.shape[0], layer.shape[0] / 2} & taken)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The layers by the first word of their names behind what all names share."""
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            found.setdefault(_head(layer.name, self._shared), []).append(layer)
        return tuple(Part(prefix, tuple(layers)) for prefix, layers in found.items())

    def own(self, layer: Layer) -> tuple[str, ...]:
        """Return the words that only this layer is called by: no numbers, no parts, none that all layers share.

        The word for a mean belongs to them where it names no part of a noisy layer.
        """
        left, own = self.common.copy(), []
        for word in _spoken(layer):
            if left[word] > 0:
                left[word] -= 1
            else:
                own.append(word)
        return tuple(own)

    @cached_property
    def common(self) -> Counter[str]:
        """The words that the names of all linear layers and convolutions have, each as often as all have it."""
        weights = [Counter(_spoken(layer)) for layer in self.layers if layer.kind in ("linear", "convolution")]
        return reduce(and_, weights) if weights else Counter()

    @cached_property
    def named(self) -> bool:
        """Whether names say which tensors make a layer, and not only their order."""
        told = (parse(name).part is not None or bool(_BATCH & {*words(name)}) for name in self.shapes)
        return sum(told) * 2 >= len(self.shapes)

    @cached_property
    def _shared(self) -> int:
        """How many leading parts all dotted names share."""
        split = [re.split(r"[./]", name) for name in self.shapes if re.search(r"[./]", name)]
        # Eight wrappers around one another are more than any code base has.
        for size in range(8):
            if len({tuple(item[: size + 1]) for item in split}) != 1 or any(len(item) <= size + 2 for item in split):
                return size
        return 0


def several_choices(setting: str) -> str:
    """Return why rows are not told by their number where a setting says that they are bins or branches."""
    return f"its settings have '{setting}', so its rows may be bins, or those of several choices at once"


def _spoken(layer: Layer) -> tuple[str, ...]:
    """The words of a layer's name without numbers and parts, and without the kinds of a noisy layer's parts."""
    if layer.noisy:
        return tuple(word for word in layer.stem if not word.isdigit())
    taken = parse(layer.name)
    kind = () if taken.kind is None else tuple(word for word in words(layer.name) if parse(word).kind == taken.kind)
    return (*(word for word in taken.stem if not word.isdigit()), *kind[:1])


def _head(name: str, shared: int) -> str:
    pieces = re.split(r"[./]", name)
    return pieces[shared] if len(pieces) > shared else pieces[0]


def _members(taken: Mapping[str, Name]) -> dict[tuple[str, ...], list[str]]:
    """Group names by the words of their layers; noise and statistics go where their words begin as a layer's."""
    members: dict[tuple[str, ...], list[str]] = {}
    loose = [name for name, item in taken.items() if item.kind == "noise" or item.part is None]
    plain = {_stem(item) for item in taken.values() if item.kind is None and item.part == "weight"}
    for name, item in taken.items():
        if name not in loose:
            # `fc_mu` beside `fc` is a layer of its own, not the mean of a noisy one, which has no plain weight.
            own = ("mean",) if item.kind in ("mean", "sigma") and _stem(item) in plain and _means(taken, item) else ()
            members.setdefault((*_stem(item), *own), []).append(name)
    for name in loose:
        stem = tuple(word for word in words(name) if word not in _BATCH)
        home = next((stem[:size] for size in range(len(stem), 0, -1) if stem[:size] in members), stem)
        members.setdefault(home, []).append(name)
    order = list(taken)
    return dict(sorted(members.items(), key=lambda item: order.index(item[1][0])))


def _means(taken: Mapping[str, Name], item: Name) -> bool:
    """Whether there is a mean of the same words as `item`."""
    return any(other.kind == "mean" and other.stem == item.stem for other in taken.values())


def _stem(item: Name) -> tuple[str, ...]:
    """A cell's four tensors have one stem; the mean that is a head's own name stays with it."""
    cell = next((i for i, word in enumerate(item.stem) if word in _CELL), len(item.stem))
    return item.stem[:cell]


def _layer(stem: tuple[str, ...], names: Sequence[str], shapes: Mapping[str, Shape]) -> Layer:
    weights = [name for name in names if parse(name).kind in (None, "mean")] or list(names)
    rank = max(len(shapes[name]) for name in weights)
    weight = next(name for name in weights if len(shapes[name]) == rank)
    said = {word for name in names for word in words(name)}
    kind: Kind = _KINDS.get(rank, "other")
    if said & _CELL and rank == 2:
        kind = "cell"
    elif said & _BATCH:
        kind = "batch norm"
    elif rank == 1 and len(names) > 1 and len({shapes[name] for name in names}) == 1:
        kind = "norm"
    sigmas = [name for name in names if parse(name).kind == "sigma" and shapes[name] == shapes[weight]]
    return Layer(kind, stem, (weight, *(name for name in names if name != weight)), shapes[weight], bool(sigmas))


def _by_order(shapes: Mapping[str, Shape]) -> Iterator[Layer]:
    """Without names, each tensor of more than one dimension is a layer's weight; a vector behind it is its bias."""
    biases = Counter[Shape](shape for shape in shapes.values() if len(shape) == 1)
    for name, shape in shapes.items():
        if len(shape) > 1:
            biases[shape[:1]] -= 1
            yield Layer(_KINDS.get(len(shape), "other"), words(name), (name,), shape)
    for name, shape in shapes.items():
        if len(shape) < 2 and biases[shape] > 0:
            biases[shape] -= 1
            yield Layer(_KINDS[len(shape)], words(name), (name,), shape)
