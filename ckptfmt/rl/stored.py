"""Stored tensors as torch tensors."""

from collections.abc import Iterable

import torch

from ckptfmt.errors import WeightsError, printable
from ckptfmt.format.files import WEIGHTS
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["read_tensor", "read_tensors"]

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
    "C64": torch.complex64,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
}


def read_tensor(checkpoint: Checkpoint, name: str, file: str = WEIGHTS, *, verify: bool = True) -> torch.Tensor:
    """Return one tensor on the CPU, its bytes used as they were read; raise `WeightsError` where they are damaged."""
    info = checkpoint.info(name, file)
    if info.dtype not in _DTYPES:
        raise WeightsError(
            f"{printable(name)} is {info.dtype}, which torch cannot hold", where=file, code="weights.dtype"
        )
    data = checkpoint.read(name, file, verify=verify)
    if not data:
        return torch.empty(info.shape, dtype=_DTYPES[info.dtype])
    return torch.frombuffer(data, dtype=_DTYPES[info.dtype]).reshape(info.shape)


def read_tensors(
    checkpoint: Checkpoint, file: str = WEIGHTS, names: Iterable[str] | None = None, *, verify: bool = True
) -> dict[str, torch.Tensor]:
    """Return the named tensors of a file (all unless told); tied names give the same tensor."""
    entry = checkpoint.manifest.files[file]
    read: dict[str, torch.Tensor] = {}
    found = {}
    for name in checkpoint.names(file) if names is None else names:
        stored = entry.tied.get(name, name)
        if stored not in read:
            read[stored] = read_tensor(checkpoint, stored, file, verify=verify)
        found[name] = read[stored]
    return found
