"""Recurrent cells of Flax, which keep a matrix for each gate: put one upon another in the order of torch's cells.

An LSTM has the gates i, f, g, o and a bias for what it remembers alone; a GRU has r, z, n and biases for all that it
sees and for the last gate of what it remembers (flax.linen.LSTMCell, GRUCell). What has no bias gets zeros.
"""

from collections.abc import Iterator, Mapping, Sequence

from ckptfmt.convert.parts import Room, Whole, dense
from ckptfmt.legacy.bytes.storages import LegacyTensor

__all__ = ["cells"]

_GATES = ("ifgo", "rzn")
_SIDES = {"i": "ih", "h": "hh"}
_REASON = "a gate of a cell"


def cells(tensors: Mapping[str, LegacyTensor], room: Room) -> Iterator[Whole]:
    """Yield weights and biases of each cell that is in parts by these names, as far as there is room."""
    for name in tensors:
        for gates in _GATES:
            first = f"i{gates[0]}.weight"
            stem = name.removesuffix(first)
            if stem == name or (stem and not stem.endswith(".")):
                continue
            parts = {side: [f"{stem}{side}{gate}" for gate in gates] for side in _SIDES}
            whole = _is_whole(tensors, parts)
            if whole and room.take(tensors[f"{part}.weight"] for names in parts.values() for part in names):
                yield from _joined(tensors, stem, parts)


def _is_whole(tensors: Mapping[str, LegacyTensor], parts: Mapping[str, Sequence[str]]) -> bool:
    """Whether all gates are there, those of each side of one shape and all of as many rows."""
    weights = {side: [tensors.get(f"{part}.weight") for part in names] for side, names in parts.items()}
    shapes = {side: {(item.shape, item.dtype) if item else None for item in found} for side, found in weights.items()}
    if any(len(found) != 1 or None in found for found in shapes.values()):
        return False
    ((seen, dtype),), ((kept, other),) = (tuple(found) for found in shapes.values())  # type: ignore[misc]
    square = len(seen) == len(kept) == 2 and kept == (seen[0], seen[0]) and dtype == other
    biases = [tensors.get(f"{part}.bias") for names in parts.values() for part in names]
    return square and all(bias is None or (bias.shape, bias.dtype) == (seen[:1], dtype) for bias in biases)


def _joined(tensors: Mapping[str, LegacyTensor], stem: str, parts: Mapping[str, Sequence[str]]) -> Iterator[Whole]:
    for side, names in parts.items():
        weights = [tensors[f"{part}.weight"] for part in names]
        rows, inputs = weights[0].shape
        dtype, zeros = weights[0].dtype, bytes(rows * weights[0].width)
        biases = [tensors[f"{part}.bias"].read() if f"{part}.bias" in tensors else zeros for part in names]
        held = [f"{part}.{leaf}" for part in names for leaf in ("weight", "bias") if f"{part}.{leaf}" in tensors]
        name = _SIDES[side]
        whole = dense(b"".join(weight.read() for weight in weights), dtype, (len(names) * rows, inputs))
        yield Whole(f"{stem}weight_{name}_l0", (*(f"{part}.weight" for part in names),), whole, _REASON)
        bias = dense(b"".join(biases), dtype, (len(names) * rows,))
        own = tuple(part for part in held if part.endswith(".bias"))
        yield Whole(f"{stem}bias_{name}_l0", own, bias, _REASON)
