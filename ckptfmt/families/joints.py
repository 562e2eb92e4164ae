"""Where a chain passes from one network that could stand alone to another, and whether names say that it does."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ckptfmt.families.names import words
from ckptfmt.families.outline import Chain, Unit

__all__ = ["joints", "open_joints"]

# What is called so lies before something else.
_BEFORE = frozenset({
    "encoder", "encoders", "enc", "encode", "trunk", "feature", "features", "featurizer", "extractor", "backbone",
    "body", "base", "torso", "preprocess", "preprocessor", "representation", "repr", "embed", "embedding", "phi", "psi",
    "embedder", "stem", "core", "shared", "common", "bottom", "input", "vision", "cnn",
})  # fmt: skip
# What is called so lies behind something else.
_BEHIND = frozenset({"head", "heads", "last", "out", "output", "outputs", "readout", "top", "final"})
# A module's own layers in a row are called so, and no network of a file is.
_SILENT = frozenset(
    {"net", "mlp", "main", "fc", "fcs", "linear", "layer", "layers", "hidden", "block", "blocks", "seq"}
)


def joints(units: Sequence[Unit]) -> Iterator[tuple[Unit, Unit, int]]:
    """Yield the layers between which a row passes from one set of layers to another, each of which could stand alone.

    With them comes the number of pieces that their paths share. Whether an activation lies between such sets no
    weight shows: whole networks end without one.
    """
    for one, other in pairwise(units):
        depth = next((i for i, pieces in enumerate(zip(one.path, other.path, strict=False)) if len({*pieces}) > 1), 0)
        before, behind = (_below(unit.path[: depth + 1], units) for unit in (one, other))
        if min(len(before), len(behind)) > 1 and all(unit.kind == "linear" for unit in before) and one.norm is None:
            yield one, other, depth


def open_joints(chain: Chain) -> Iterator[tuple[Unit, Unit]]:
    """Yield the joints of which no name says that what is on one side lies before what is on the other."""
    for one, other, depth in joints((*chain.units, chain.heads[0])):
        before, behind = (
            {word for piece in unit.path[depth:] for word in words(piece) if not word.isdigit()}
            for unit in (one, other)
        )
        if not before & _BEFORE and not behind & _BEHIND and not before <= _SILENT:
            yield one, other


def _below(place: tuple[str, ...], units: Sequence[Unit]) -> list[Unit]:
    return [unit for unit in units if unit.path[: len(place)] == place]
