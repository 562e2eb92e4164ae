"""Stored tensors as torch tensors, and as arrays that need not be whole in memory."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ckptfmt.convert.unwritten import Unwritten
from ckptfmt.errors import WeightsError, printable
from ckptfmt.format.dtypes import DTYPES
from ckptfmt.format.files import WEIGHTS
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["StoredArrays", "fill", "read_slice", "read_tensor", "read_tensors", "shape_of", "torch_dtype"]

Array = NDArray[Any]

# Only those that this torch has; older ones lack some of the eight-bit floats.
_DTYPES = {name: getattr(torch, d.torch) for name, d in DTYPES.items() if d.torch and hasattr(torch, d.torch)}


def read_tensor(
    checkpoint: Checkpoint | Unwritten, name: str, file: str = WEIGHTS, *, verify: bool = True
) -> torch.Tensor:
    """Return one tensor on the CPU, its bytes used as they were read; raise `WeightsError` where they are damaged."""
    info = checkpoint.info(name, file)
    if info.dtype not in _DTYPES:
        raise WeightsError(
            f"{printable(name)} is {info.dtype}, which torch cannot hold", where=file, code="weights.dtype"
        )
    data = checkpoint.read(name, file, verify=verify)
    # torch.frombuffer takes no empty buffer.
    if not data:
        return torch.empty(info.shape, dtype=_DTYPES[info.dtype])
    return torch.frombuffer(data, dtype=_DTYPES[info.dtype]).reshape(info.shape)


def read_slice(
    checkpoint: Checkpoint,
    name: str,
    at: tuple[int, ...],
    shape: tuple[int, ...],
    file: str = WEIGHTS,
    *,
    verify: bool = True,
) -> torch.Tensor:
    """Return the box of a tensor that begins `at` and has this shape, on the CPU; raises as `read_tensor`."""
    dtype = torch_dtype(checkpoint.info(name, file).dtype)
    if dtype is None:
        raise WeightsError(f"{printable(name)} is of a dtype that torch cannot hold", where=file, code="weights.dtype")
    data = bytearray(math.prod(shape) * dtype.itemsize)
    checkpoint.read_slice(memoryview(data), name, at, shape, file, verify=verify)
    return torch.frombuffer(data, dtype=dtype).reshape(shape)


def torch_dtype(dtype: str) -> torch.dtype | None:
    """Return what torch calls a dtype of safetensors; None where it cannot hold it."""
    return _DTYPES.get(dtype)


def read_tensors(
    checkpoint: Checkpoint | Unwritten, file: str = WEIGHTS, names: Iterable[str] | None = None, *, verify: bool = True
) -> dict[str, torch.Tensor]:
    """Return the named tensors of a file (all unless told); tied names give the same tensor."""
    entry = checkpoint.manifest.contents[file]
    read: dict[str, torch.Tensor] = {}
    found = {}
    for name in checkpoint.names(file) if names is None else names:
        stored = entry.tied.get(name, name)
        if stored not in read:
            read[stored] = read_tensor(checkpoint, stored, file, verify=verify)
        found[name] = read[stored]
    return found


class StoredArrays(Mapping[str, Array]):
    """The tensors of a file as arrays, each read and verified when it is asked for.

    `prefix` is what their names in the file begin with; `fill` reads one without a copy of it.
    """

    def __init__(self, checkpoint: Checkpoint, file: str, prefix: str = "", *, verify: bool = True) -> None:
        self.checkpoint, self.file, self.prefix, self.verify = checkpoint, file, prefix, verify
        self._names = [name.removeprefix(prefix) for name in checkpoint.names(file) if name.startswith(prefix)]

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        array: Array = read_tensor(self.checkpoint, self.prefix + name, self.file, verify=self.verify).numpy()
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def info(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Return dtype and shape; raise `WeightsError` for a dtype that NumPy lacks."""
        info = self.checkpoint.info(self.prefix + name, self.file)
        kind = _DTYPES.get(info.dtype)
        if kind is None or not DTYPES[info.dtype].numpy:
            raise _no_dtype(name, info.dtype, self.file)
        return torch.empty(0, dtype=kind).numpy().dtype, tuple(info.shape)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Return the bytes in parts; the last step raises `WeightsError` if their digest is wrong."""
        return self.checkpoint.chunks(self.prefix + name, self.file, verify=self.verify)


def shape_of(arrays: Mapping[str, Array], name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of an array, which is not read for it."""
    if isinstance(arrays, StoredArrays):
        return arrays.info(name)
    return arrays[name].dtype, arrays[name].shape


def fill(arrays: Mapping[str, Array], name: str, parts: Sequence[tuple[int, Array]]) -> None:
    """Fill contiguous arrays with the bytes of a named one, each from a position on; positions ascend."""
    if isinstance(arrays, StoredArrays):
        chunks: Iterable[bytes | memoryview] = arrays.chunks(name)
    else:
        chunks = [_bytes_of(np.ascontiguousarray(arrays[name]))]
    wanted = [(start, _bytes_of(target)) for start, target in parts if target.size]
    position = 0
    for chunk in chunks:
        for start, target in wanted:
            begin, end = max(start, position), min(start + len(target), position + len(chunk))
            if begin < end:
                target[begin - start : end - start] = memoryview(chunk)[begin - position : end - position]
        position += len(chunk)


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _no_dtype(name: str, dtype: str, file: str) -> WeightsError:
    return WeightsError(f"{printable(name)} is {dtype}, which NumPy cannot hold", where=file, code="weights.dtype")
