"""A tree of sums over the priorities of a replay buffer, wide so that NumPy does the work of a level at once."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["SumTree"]

# Wide, so that there are few levels: each costs a step of NumPy for all draws together.
_WIDTH = 64
# So many sums are still searched at once, without one more level.
_TOP = 4096

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class SumTree:
    """Non-negative float64 leaves; drawing one with a chance in proportion to its value costs log(size)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._levels = [np.zeros(_padded(size))]
        while len(self._levels[-1]) > _TOP or len(self._levels) == 1:
            self._levels.append(np.zeros(_padded(len(self._levels[-1]) // _WIDTH)))

    @property
    def leaves(self) -> Floats:
        """Return the leaves (size,), to be read only."""
        return self._levels[0][: self.size]

    @property
    def total(self) -> float:
        """Return the sum of all leaves."""
        return float(self._levels[-1].cumsum()[-1])

    def update(self, leaves: Indices, values: Floats | float) -> None:
        """Set some leaves; of a leaf that is named twice the last value counts."""
        self._levels[0][leaves] = values
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            leaves = leaves // _WIDTH
            level[leaves] = below.reshape(-1, _WIDTH)[leaves].sum(axis=1)

    def find(self, targets: Floats) -> Indices:
        """Return the leaves at which the running sum passes each target in [0, total); never an empty one.

        Rounding can carry a target to the very sum of its block; then the last child that holds something takes it.
        """
        top = self._levels[-1].cumsum()
        rest = np.minimum(targets, np.nextafter(top[-1], 0.0))
        position: Indices = top.searchsorted(rest, side="right")
        rest = rest - np.where(position > 0, top[position - 1], 0.0)
        rows = np.arange(len(targets))
        running = np.zeros((len(targets), _WIDTH + 1))
        for level in self._levels[-2::-1]:
            level.reshape(-1, _WIDTH)[position].cumsum(axis=1, out=running[:, 1:])
            rest = np.minimum(rest, np.nextafter(running[:, -1], 0.0))
            child = (running[:, 1:] > rest[:, None]).argmax(axis=1)
            rest = rest - running[rows, child]
            position = position * _WIDTH + child
        return position

    def restore(self, leaves: Floats) -> None:
        """Set all leaves at once."""
        self._levels[0][: self.size] = leaves
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            level[: len(below) // _WIDTH] = below.reshape(-1, _WIDTH).sum(axis=1)


def _padded(size: int) -> int:
    return -(-size // _WIDTH) * _WIDTH
