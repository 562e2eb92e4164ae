"""Every wiring of the eight architectures that could have given a list of shapes: generate, then compare.

A topology says exactly which shapes its network must have. It fits when nothing is missing and what is left
over is explained, noise buffers and a support and no more. Names play no part here.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Literal

from ckptfmt.families.atari_dqn.fingerprint import Fingerprint, Shape
from ckptfmt.format.record import record

__all__ = ["NOISE_STYLES", "Fit", "Layer", "Role", "Topology", "fits", "topologies"]

Streams = Literal["single", "separate", "shared", "fused"]
Role = Literal["hidden", "head", "value_hidden", "advantage_hidden", "value_head", "advantage_head"]

# What code bases keep beside the means and sigmas of a noisy layer (out, in), written with those letters.
NOISE_STYLES: dict[str, tuple[str, ...]] = {
    "none": (),
    "factors": ("i", "o"),
    "factor rows": ("1i", "o1"),
    "factor rows, bias": ("1i", "o1", "o"),
    "factors as rows": ("1i", "1o"),
    "factors as columns": ("i1", "o1"),
    "factors, bias": ("i", "o", "o"),
    "matrix, bias": ("oi", "o"),
    "matrix, factors": ("oi", "i", "o"),
    "matrix, bias, factors": ("oi", "i", "o", "o"),
    "matrix, bias, three factors": ("oi", "i", "o", "o", "o"),
    "matrix, bias, factor rows": ("oi", "1i", "o1", "o"),
    "matrix, factor rows": ("oi", "1i", "o1"),
    "matrix": ("oi",),
    "input factor": ("i",),
    "output factor": ("o",),
}


@record
class Layer:
    """One linear layer of a topology: its role, and the shape (out, in) of its weight."""

    role: Role
    shape: tuple[int, int]


@record(slots=False)
class Topology:
    """A wiring: one stream or two, how the hidden layer is shared, plain or noisy layers, all sizes.

    `heads` are the rows of the output layers, value before advantage.
    """

    convs: tuple[Shape, ...]
    streams: Streams
    noisy: bool
    features: int
    hidden: int
    heads: tuple[int, ...]

    @property
    def dueling(self) -> bool:
        """Whether there are two streams."""
        return self.streams != "single"

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The linear layers, hidden ones first."""
        hidden, features = self.hidden, self.features
        if self.streams == "single":
            return Layer("hidden", (hidden, features)), Layer("head", (self.heads[0], hidden))
        ends = (Layer("value_head", (self.heads[0], hidden)), Layer("advantage_head", (self.heads[1], hidden)))
        if self.streams == "separate":
            return (
                Layer("value_hidden", (hidden, features)),
                Layer("advantage_hidden", (hidden, features)),
                *ends,
            )
        return Layer("hidden", (hidden * (2 if self.streams == "fused" else 1), features)), *ends

    @cached_property
    def required(self) -> Counter[Shape]:
        """The shapes that must be there: weights, biases, and sigmas where the layers are noisy."""
        found: Counter[Shape] = Counter()
        for conv in self.convs:
            found.update([conv, conv[:1]])
        for layer in self.layers:
            for shape in (layer.shape, layer.shape[:1]):
                found[shape] += 2 if self.noisy else 1
        return found

    def noise(self, style: str) -> Counter[Shape]:
        """Return the shapes of the noise buffers that all layers have in a style of `NOISE_STYLES`."""
        return Counter(shape for layer in self.layers for shape in noise_shapes(style, layer.shape))


@record(slots=False)
class Fit:
    """How a topology compares with the shapes of a file; `support` is the shape of the support, if any."""

    topology: Topology
    missing: Counter[Shape]
    extra: Counter[Shape]
    noise: str = "none"
    support: Shape | None = None

    @property
    def exact(self) -> bool:
        """Whether nothing is missing and nothing is left unexplained."""
        return not self.missing and not self.extra

    @property
    def distance(self) -> int:
        """How many tensors are missing or too many."""
        return sum(self.missing.values()) + sum(self.extra.values())


def noise_shapes(style: str, shape: tuple[int, int]) -> list[Shape]:
    """Return the shapes of the noise buffers of one layer (out, in)."""
    sizes = {"o": shape[0], "i": shape[1], "1": 1}
    return [tuple(sizes[letter] for letter in letters) for letters in NOISE_STYLES[style]]


def topologies(found: Fingerprint) -> Iterator[Topology]:
    """Yield every topology whose hidden and output weights occur among the shapes."""
    if not found.chain:
        return
    convs = found.chain
    for hidden, features in found.matrices:
        # A flattened map has all its channels whole; one unit is a head and no hidden layer.
        if features % convs[-1][0] or hidden < 2:
            continue
        for streams, heads, size in _outputs(found, hidden, features):
            for noisy in (False, True):
                yield Topology(convs, streams, noisy, features, size, heads)


def _outputs(found: Fingerprint, hidden: int, features: int) -> Iterator[tuple[Streams, tuple[int, ...], int]]:
    rows = [out for out, size in found.matrices if size == hidden and (out, size) != (hidden, features)]
    for out in rows:
        yield "single", (out,), hidden
    for heads in _pairs(rows):
        yield "separate", heads, hidden
        yield "shared", heads, hidden
    if hidden % 2 == 0:
        for heads in _pairs([out for out, size in found.matrices if size == hidden // 2]):
            yield "fused", heads, hidden // 2


def _pairs(rows: list[int]) -> Iterator[tuple[int, int]]:
    for value in rows:
        for advantage in rows:
            # A value has a row for each atom, an advantage as many for every action.
            if advantage % value == 0:
                yield value, advantage


def fits(found: Fingerprint) -> list[Fit]:
    """Return how each topology compares with the shapes, nearest first."""
    compared = [fit for topology in topologies(found) for fit in _compare(topology, found.counts)]
    # Of those that are as near, the one with the fewest parts.
    return sorted(compared, key=lambda fit: (fit.distance, fit.topology.noisy, fit.topology.streams != "single"))


def _compare(topology: Topology, counts: Counter[Shape]) -> list[Fit]:
    missing = topology.required - counts
    extra = counts - topology.required
    bare = Fit(topology, missing, extra)
    if missing or not extra:
        return [bare]
    explained = [
        fit
        for style in _possible_styles(topology, sum(extra.values()))
        for fit in _explain(replace(bare, noise=style), topology.noise(style))
    ]
    return explained or [bare]


def _possible_styles(topology: Topology, extra: int) -> list[str]:
    """Styles that leave nothing over, or one tensor that may be the support."""
    if not topology.noisy:
        return ["none"]
    layers = len(topology.layers)
    return [style for style, letters in NOISE_STYLES.items() if extra - layers * len(letters) in (0, 1)]


def _explain(fit: Fit, noise: Counter[Shape]) -> Iterator[Fit]:
    if noise - fit.extra:
        return
    left = fit.extra - noise
    if not left:
        yield replace(fit, extra=left)
    elif sum(left.values()) == 1 and _may_be_support(support := next(iter(left)), fit.topology):
        yield replace(fit, extra=Counter(), support=support)


def _may_be_support(shape: Shape, topology: Topology) -> bool:
    """A support has one entry for each atom: as many as the value head has rows, or a divisor of the only head."""
    long = [size for size in shape if size != 1]
    if len(long) != 1:
        return False
    atoms = long[0]
    return atoms == topology.heads[0] if topology.dueling else topology.heads[0] % atoms == 0
