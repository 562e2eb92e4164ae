"""Files of safetensors as a source: their tensors where they lie, and the metadata beside them."""

from typing import Any

from ckptfmt.errors import SourceError, WeightsError
from ckptfmt.format.safetensors import parse_header
from ckptfmt.legacy.bytes.blocks import Block, Window
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.pickle.ndarray import strides_of

__all__ = ["read_safetensors"]


def read_safetensors(block: Block) -> tuple[dict[str, LegacyTensor], dict[str, Any]]:
    """Return the tensors by name, and the metadata; raise `SourceError` for a file that is damaged."""
    try:
        header = parse_header(block.read, block.size, where="")
    except WeightsError as e:
        raise SourceError(e.what, where=e.where, fix=e.fix, code="source.damaged") from None
    tensors = {}
    for info in header.tensors:
        data = Window(block, header.data_start + info.begin, info.nbytes)
        storage = Storage(info.name, info.dtype, data)
        tensors[info.name] = LegacyTensor(info.dtype, info.shape, strides_of(info.shape), 0, storage)
    return tensors, dict(header.metadata)
