"""The tensors of an open checkpoint as NumPy arrays."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from ckptfmt.format.entries import TensorEntry
from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.format.tensors import decode

__all__ = ["Arrays"]


class _Source(Protocol):
    """What tensors are read from: a `Checkpoint`, which knows this module."""

    def names(self, file: str) -> tuple[str, ...]: ...

    def info(self, name: str, file: str) -> TensorEntry: ...

    def read_into(self, target: memoryview, name: str, file: str) -> None: ...


class Arrays(Mapping[str, np.ndarray]):
    """Name to array; each is read from the file, and verified, every time it is asked for."""

    def __init__(self, checkpoint: _Source, file: str = WEIGHTS) -> None:
        self._checkpoint = checkpoint
        self._file = file
        self._names = dict.fromkeys(checkpoint.names(file))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        info = self._checkpoint.info(name, self._file)
        # Memory that nobody has written yet: zeros in it would take as long as reading a compressed replay buffer.
        data = np.empty(tensor_bytes(info.dtype, info.shape), np.uint8).data
        self._checkpoint.read_into(data, name, self._file)
        return decode(data.toreadonly(), info.dtype, tuple(info.shape))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
