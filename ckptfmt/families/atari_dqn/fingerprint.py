"""Shapes of tensors: the chain of convolutions, the matrices behind it, the vectors beside them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property

from ckptfmt.format.record import record

__all__ = ["MAX_CONVS", "MAX_MATRICES", "MAX_TENSORS", "Fingerprint", "Shape", "chains"]

Shape = tuple[int, ...]

# The deepest plain trunk of this field has four convolutions, a noisy dueling one some fifty tensors and eight
# shapes of matrices; the searches below stay small whatever a file holds.
MAX_CONVS, MAX_TENSORS, MAX_MATRICES = 6, 200, 16


@record(slots=False)
class Fingerprint:
    """The shapes of a state dict, without names, sorted by what they can be."""

    shapes: Mapping[str, Shape]

    @cached_property
    def counts(self) -> Counter[Shape]:
        """How often each shape occurs."""
        return Counter(self.shapes.values())

    @cached_property
    def convs(self) -> Counter[Shape]:
        """Shapes (out, in, height, width) of convolution weights."""
        return Counter({shape: n for shape, n in self.counts.items() if len(shape) == 4})

    @cached_property
    def matrices(self) -> tuple[Shape, ...]:
        """The different shapes (out, in) of two dimensions."""
        return tuple(sorted(shape for shape in self.counts if len(shape) == 2))

    @cached_property
    def chain(self) -> tuple[Shape, ...]:
        """An order in which the convolutions can follow each other; empty where none uses them all."""
        return next(chains(self.convs), ()) if sum(self.convs.values()) <= MAX_CONVS else ()


def chains(convs: Counter[Shape]) -> Iterator[tuple[Shape, ...]]:
    """Yield each order of convolutions in which one takes as many channels as the one before it gives."""
    total = sum(convs.values())
    stack: list[tuple[Shape, ...]] = [(shape,) for shape in sorted(convs, reverse=True)]
    while stack:
        path = stack.pop()
        if len(path) == total:
            yield path
            continue
        left = convs - Counter(path)
        stack += [(*path, shape) for shape in sorted(left, reverse=True) if shape[1] == path[-1][0]]
