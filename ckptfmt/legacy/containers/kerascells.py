"""Recurrent cells of Keras, which keep the gates side by side: parted into a matrix for each, by the names of Flax.

An LSTM has the gates i, f, g, o and one bias. A GRU has z, r, n and, unless it resets before it multiplies, a bias for
what it sees and one for what it remembers; one that resets before is another function than that of PyTorch and stays.
"""

from collections.abc import Mapping
from dataclasses import replace

from ckptfmt.legacy.bytes.storages import LegacyTensor

__all__ = ["split_cells"]

_GATES = {4: "ifgo", 3: "zrn"}
_LEAF = "recurrent_kernel"


def split_cells(tensors: Mapping[str, LegacyTensor]) -> dict[str, LegacyTensor]:
    """Return the tensors with those of each cell in parts, `CELL.ii.kernel` to `CELL.ho.bias`."""
    found = dict(tensors)
    for name in tensors:
        stem = name.removesuffix(_LEAF)
        if name != stem and (parts := _parts(tensors, stem)):
            for leaf in ("kernel", _LEAF, "bias"):
                found.pop(f"{stem}{leaf}", None)
            found |= parts
    return found


def _parts(tensors: Mapping[str, LegacyTensor], stem: str) -> dict[str, LegacyTensor]:
    seen, kept, bias = (tensors.get(f"{stem}{leaf}") for leaf in ("kernel", _LEAF, "bias"))
    if seen is None or kept is None or len(seen.shape) != 2 or len(kept.shape) != 2 or not kept.shape[0]:
        return {}
    size = kept.shape[0]
    gates, odd = divmod(kept.shape[1], size)
    if odd or gates not in _GATES or seen.shape[1] != kept.shape[1]:
        return {}
    # The bias of an LSTM is that of both sides together, as the one that Flax has.
    wanted = {4: (gates * size,), 3: (2, gates * size)}[gates]
    if bias is not None and bias.shape != wanted:
        return {}
    found = {}
    for i, gate in enumerate(_GATES[gates]):
        columns = i * size, size
        found[f"{stem}i{gate}.kernel"] = _columns(seen, *columns)
        found[f"{stem}h{gate}.kernel"] = _columns(kept, *columns)
        if bias is not None and gates == 4:
            found[f"{stem}h{gate}.bias"] = _columns(bias, *columns)
        elif bias is not None:
            for row, side in enumerate("ih"):
                found[f"{stem}{side}{gate}.bias"] = _columns(_row(bias, row), *columns)
    return found


def _columns(tensor: LegacyTensor, start: int, count: int) -> LegacyTensor:
    shape = (*tensor.shape[:-1], count)
    return replace(tensor, shape=shape, offset=tensor.offset + start * tensor.strides[-1])


def _row(tensor: LegacyTensor, row: int) -> LegacyTensor:
    return replace(tensor.rows(row, row + 1), shape=tensor.shape[1:], strides=tensor.strides[1:])
