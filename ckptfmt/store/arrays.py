"""The tensors of an open checkpoint as NumPy arrays."""

from collections.abc import Iterator, Mapping

import numpy as np

from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.tensors import decode
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Arrays"]


class Arrays(Mapping[str, np.ndarray]):
    """Name to array; each is read from the file, and verified, every time it is asked for."""

    def __init__(self, checkpoint: Checkpoint, file: str = WEIGHTS) -> None:
        self._checkpoint = checkpoint
        self._file = file
        self._names = dict.fromkeys(checkpoint.names(file))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        info = self._checkpoint.info(name, self._file)
        return decode(bytes(self._checkpoint.read(name, self._file)), info.dtype, tuple(info.shape))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
