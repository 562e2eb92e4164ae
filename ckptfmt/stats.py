"""The numbers of a tensor at a glance: range, mean, spread, zeros, and what is not finite."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ckptfmt.plain import plain

__all__ = ["TensorStats"]


@dataclass(frozen=True, slots=True)
class TensorStats:
    """What `tensor_stats` found; the figures are over the finite elements, None where there are none.

    Complex numbers count by their magnitude, booleans as 0 and 1. `std` is that of the whole population.
    """

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    zeros: int
    non_finite: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures with the keys of `report.schema.json`."""
        names = ("min", "max", "mean", "std", "zeros", "non_finite")
        return {name: plain(getattr(self, name)) for name in names}
