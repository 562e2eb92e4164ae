"""How the numbers of a tensor lie: a histogram on a symmetric range, and the norm of each output unit."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.numeric import BLOCK, block_bytes, has_numbers
from ckptfmt.format.plain import plain
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.look.stats import figures_of, finite_of, values_of
from ckptfmt.look.summary import TensorStats
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["BINS", "FEW", "TensorShape", "shape_of"]

# Three pixels for each bin of a picture.
BINS = 48
# So few values are shown one by one; a histogram of four biases says nothing.
FEW = 64
# A tensor of up to this many bytes is read once and held, a larger one is read twice.
_HELD = 32 << 20
# A unit whose norm is below this share of the layer's mean norm gives next to nothing, whatever goes in.
_DEAD = 1e-3


@record
class TensorShape:
    """The figures of a tensor and how its values lie.

    `counts` are those of `BINS` bins of one width from -`reach` to `reach`; `values` all finite values where
    they are few; `norms` the Euclidean norm of each output unit (the first dimension), none for vectors.
    """

    stats: TensorStats
    reach: float
    counts: tuple[int, ...]
    values: tuple[float, ...]
    norms: tuple[float, ...]

    @property
    def dead(self) -> int:
        """Return how many output units have a norm near zero beside the others."""
        if not self.norms or not all(map(math.isfinite, self.norms)):
            return 0
        mean = math.fsum(self.norms) / len(self.norms)
        return sum(norm <= _DEAD * mean for norm in self.norms)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            "stats": self.stats.to_dict(),
            "reach": plain(self.reach),
            "counts": list(self.counts),
            "values": [plain(value) for value in self.values],
            "norms": [plain(norm) for norm in self.norms],
            "dead": self.dead,
        }


def shape_of(checkpoint: Checkpoint, name: str, file: str = WEIGHTS, reach: float | None = None) -> TensorShape | None:
    """Return how a tensor's numbers lie; None where its dtype has none.

    Its numbers are looked at in blocks, so that memory is bounded whatever its size. `reach` widens the range,
    so that two tensors can be laid over each other. Raises `WeightsError` for damaged bytes.
    """
    info = checkpoint.info(name, file)
    if not has_numbers(info.dtype):
        return None
    blocks = _reader(checkpoint, name, file)
    stats = figures_of(blocks())
    widest = max(abs(stats.min or 0.0), abs(stats.max or 0.0), reach or 0.0)
    count = math.prod(info.shape)
    lying = _Lying(widest, count <= FEW, tuple(info.shape))
    for values in blocks():
        lying.add(values)
    return TensorShape(stats, widest, tuple(map(int, lying.counts)), tuple(lying.values), lying.norms())


def _reader(checkpoint: Checkpoint, name: str, file: str) -> Callable[[], Iterable[NDArray[Any]]]:
    """Return what gives a tensor's numbers in blocks, each time anew."""
    info = checkpoint.info(name, file)

    def read() -> Iterator[bytes]:
        return checkpoint.chunks(name, file, size=block_bytes(info.dtype))

    if tensor_bytes(info.dtype, info.shape) > _HELD:
        return lambda: values_of(read(), info.dtype)
    held = list(read())
    # Widened anew each time: what is stored lies in the processor's cache, twice as much does not.
    return lambda: values_of(held, info.dtype)


class _Lying:
    """Counts and sums of squares over the blocks of one tensor, in the order of its bytes."""

    def __init__(self, reach: float, keep: bool, shape: tuple[int, ...]) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.values: list[float] = []
        self._keep = keep
        self._reach = reach
        self._row = math.prod(shape[1:]) if len(shape) > 1 else 0
        self._squares = np.zeros(shape[0] if self._row else 0)
        self._at = 0
        # Written anew for each block: memory asked for once costs no page faults.
        self._numbers, self._bins = np.empty(BLOCK), np.empty(BLOCK, np.intp)

    def add(self, values: NDArray[Any]) -> None:
        """Take the next block into account."""
        finite = finite_of(values)
        # A tensor of zeros has no range to be cut into bins.
        if self._reach > 0 and math.isfinite(self._reach):
            self.counts += self._counts(finite)
        if self._keep:
            self.values += finite.tolist()
        if self._row:
            # A block may begin and end inside of a unit: where each begins in it, the first one perhaps before it.
            begins = np.arange(-(self._at % self._row), len(values), self._row).clip(0)
            with np.errstate(over="ignore", invalid="ignore"):
                squares = np.multiply(values, values, out=self._numbers[: len(values)])
                first = self._at // self._row
                self._squares[first : first + len(begins)] += np.add.reduceat(squares, begins)
        self._at += len(values)

    def norms(self) -> tuple[float, ...]:
        """Return the norm of each output unit."""
        with np.errstate(invalid="ignore"):
            return tuple(np.sqrt(self._squares).tolist())

    def _counts(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return how many values lie in each bin, as `np.histogram` does, which takes ten times as long."""
        places, bins = self._numbers[: len(values)], self._bins[: len(values)]
        np.divide(values, self._reach, out=places)
        places += 1
        places *= BINS / 2
        np.copyto(bins, places, casting="unsafe")
        counts = np.bincount(bins, minlength=BINS + 1)
        # The greatest value is the upper edge of the last bin, and belongs to it.
        counts[BINS - 1] += counts[BINS]
        return counts[:BINS]
