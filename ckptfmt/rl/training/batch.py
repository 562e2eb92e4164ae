"""What is drawn from a replay buffer at a time."""

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from ckptfmt.format.record import record

__all__ = ["Batch"]

Array = NDArray[Any]


@record
class Batch:
    """`size` transitions over n steps: `returns` is the discounted sum of their rewards, `discounts` what the value
    of the next observation is multiplied with (0 where the episode ended), `weights` corrects for the
    chance with which each was drawn (Schaul et al. 2016, at most 1). `stacks` is (size, 2, channels, height,
    width): what was seen before and after, a tensor where the frames lie on a device.
    """

    stacks: Array | Tensor
    actions: Array
    returns: Array
    discounts: Array
    weights: Array
    indices: Array

    @property
    def observations(self) -> Array | Tensor:
        """Return (size, channels, height, width)."""
        return self.stacks[:, 0]

    @property
    def next_observations(self) -> Array | Tensor:
        """Return (size, channels, height, width) n steps later."""
        return self.stacks[:, 1]
