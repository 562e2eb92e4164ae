"""Running statistics inside a network: of what it sees, and of the returns that its value is trained on.

Code bases save a mean and a variance, or a mean and a deviation, as buffers beside the layers, with a counter.
What a statistic is of follows from how many numbers it has and from the words around it.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from ckptfmt.families.names import words
from ckptfmt.families.vocabulary import meaning
from ckptfmt.format.record import record

__all__ = ["Spread", "Statistics", "assigned", "find_statistics"]

Shape = tuple[int, ...]
Spread = Literal["variance", "deviation"]

# The last words of a mean, of what lies beside it, what that is, and what follows from it or only counts.
_KINDS: tuple[tuple[str, str, Spread, tuple[str, ...]], ...] = (
    ("running_mean", "running_var", "variance", ("count",)),
    ("running_mean", "running_variance", "variance", ("current_count",)),
    ("_mean", "_std", "deviation", ("_var", "count")),
    ("_mean", "_var", "variance", ("count",)),
    ("state_avg", "state_std", "deviation", ()),
    ("mean", "var", "variance", ("count",)),
)
# What is beside the statistics of a batch normalisation, which are those of a layer.
_OF_LAYERS = ("weight", "bias", "num_batches_tracked")
_OF_RETURNS = frozenset({"value", "values", "return", "returns"})


@record
class Statistics:
    """Two tensors of as many numbers; `extra` are those that follow from them or count."""

    path: str
    mean: str
    spread: str
    kind: Spread
    size: int
    extra: tuple[str, ...] = ()

    @property
    def is_of_returns(self) -> bool:
        """Whether words of the path say that it is of values or returns."""
        return bool(_OF_RETURNS & {*words(self.path)})

    @property
    def is_of_critic(self) -> bool:
        """Whether words of the path say that it is of what a critic sees."""
        return any(meaning(word) == "value" for word in words(self.path))


def find_statistics(shapes: Mapping[str, Shape]) -> tuple[Statistics, ...]:
    """Return the running statistics among tensors, in their order."""
    return tuple(_found(shapes)) if any(name.endswith(("mean", "avg")) for name in shapes) else ()


def assigned(
    found: Iterable[Statistics], known: Container[str], rows: Sequence[str]
) -> Iterator[tuple[str, Statistics]]:
    """Yield the field of a config that each is, where it has one; `rows` are names of layers of the network.

    Those that lie in a container of their own are no part of it, and of no field.
    """
    kinds: list[Spread] = []
    for item in found:
        beside = item.path.rpartition("/")[0]
        name = "normalizer"
        if beside and not any(row.startswith(f"{beside}/") for row in rows):
            name = "beside"
        elif item.size == 1 and item.is_of_returns and "value_normalizer" in known:
            name = "value_normalizer"
        elif item.is_of_critic and item.kind in kinds and "value_sees" in known:
            name = "value_sees"
        else:
            kinds.append(item.kind)
        yield name, item


def _found(shapes: Mapping[str, Shape]) -> Iterator[Statistics]:
    for name in shapes:
        path, leaf = _parted(name)
        beside = {other: path + other for other in _OF_LAYERS}
        if any(item in shapes for item in beside.values()):
            continue
        for mean, spread, kind, extra in _KINDS:
            if leaf == mean and (size := _size(shapes, name, path + spread)):
                more = tuple(path + item for item in extra if path + item in shapes)
                yield Statistics(path, name, path + spread, kind, size, more)
                break


def _parted(name: str) -> tuple[str, str]:
    """Return what stands before the last piece of a name, and that."""
    found = re.fullmatch(r"(.*[./])?([^./]+)", name)
    return (found[1] or "", found[2]) if found else ("", name)


def _size(shapes: Mapping[str, Shape], mean: str, spread: str) -> int:
    """Return of how many numbers the statistics are, 0 where the two tensors are none of a row of features."""
    shape = shapes[mean]
    flat = len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)
    return shape[-1] if flat and shapes.get(spread) == shape else 0
