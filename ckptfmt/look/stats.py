"""The numbers of a tensor at a glance: range, mean, spread, zeros, and what is not finite."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.numeric import BLOCK, block_bytes, blocks, has_numbers, widen
from ckptfmt.look.summary import TensorStats
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["TensorStats", "checkpoint_stats", "figures_of", "finite_of", "tensor_stats", "values_of"]


def tensor_stats(chunks: Iterable[bytes | bytearray | memoryview], dtype: str) -> TensorStats | None:
    """Return the figures of a tensor whose bytes come in `chunks`; None where its dtype has no numbers.

    Nothing but one block is held in memory; the sums are in float64 (Chan et al. 1983 for the spread).
    """
    return figures_of(values_of(chunks, dtype)) if has_numbers(dtype) else None


def values_of(chunks: Iterable[bytes | bytearray | memoryview], dtype: str) -> Iterator[np.ndarray]:
    """Yield a tensor's numbers as blocks of float64, of complex ones the magnitudes; the dtype must have numbers."""
    for block in blocks(chunks, block_bytes(dtype)):
        values = widen(block, dtype)
        yield np.abs(values) if values.dtype.kind == "c" else values


def figures_of(values: Iterable[np.ndarray]) -> TensorStats:
    """Return the figures of numbers that come in blocks of float64."""
    sums = _Sums()
    for block in values:
        sums.add(block)
    return sums.result()


def checkpoint_stats(checkpoint: Checkpoint, file: str = WEIGHTS) -> dict[str, TensorStats | None]:
    """Return the figures of every tensor of a file by name; raise `WeightsError` for damaged bytes."""
    entry = checkpoint.manifest.contents[file]
    stored = {
        name: tensor_stats(checkpoint.chunks(name, file, size=block_bytes(tensor.dtype)), tensor.dtype)
        for name, tensor in entry.tensors.items()
    }
    return stored | {name: stored[other] for name, other in entry.tied.items()}


def finite_of(values: np.ndarray) -> np.ndarray:
    """Return the values that are numbers; all of them, as nearly always, cost no copy."""
    finite = np.isfinite(values)
    return values if finite.all() else values[finite]


class _Sums:
    """Running figures over blocks."""

    def __init__(self) -> None:
        self._count = self._zeros = self._non_finite = 0
        self._mean = self._squares = 0.0
        self._min, self._max = math.inf, -math.inf
        # Written anew for each block: memory asked for once costs no page faults.
        self._apart = np.empty(BLOCK)

    def add(self, values: np.ndarray) -> None:
        """Take a block of float64 into account."""
        finite = finite_of(values)
        self._non_finite += values.size - finite.size
        if not finite.size:
            return
        self._zeros += finite.size - int(np.count_nonzero(finite))
        self._min = min(self._min, float(finite.min()))
        self._max = max(self._max, float(finite.max()))
        # Values beyond the square root of the range have no spread in float64; it is infinite then.
        with np.errstate(over="ignore", invalid="ignore"):
            mean = finite.mean()
            apart = np.subtract(finite, mean, out=self._apart[: finite.size])
            apart *= apart
            self._merge(finite.size, float(mean), float(apart.sum()))

    def _merge(self, count: int, mean: float, squares: float) -> None:
        total = self._count + count
        apart = mean - self._mean
        self._squares += squares + apart * apart * self._count * count / total
        self._mean += apart * count / total
        self._count = total

    def result(self) -> TensorStats:
        """Return the figures."""
        if not self._count:
            return TensorStats(None, None, None, None, 0, self._non_finite)
        spread = math.sqrt(self._squares / self._count)
        return TensorStats(self._min, self._max, self._mean, spread, self._zeros, self._non_finite)
