"""The singular values of a tensor: how many directions of its inputs a layer tells apart."""

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptfmt.format.record import record

__all__ = ["Spectrum", "spectrum_of"]

# Of the smaller side of the matrix; its singular values take time by the square of it.
_MOST_ROWS = 2048
# 16 MB of float32: the largest layers of agents, 3136 to 512, are less than half of it.
_MOST_ELEMENTS = 4 << 20


@record
class Spectrum:
    """Singular values in falling order, of a tensor as a matrix (first dimension, all others).

    `effective_rank` is the exponential of the entropy of their shares (Roy and Vetterli 2007, "The effective rank"):
    all alike give their count, one alone gives 1.
    """

    values: tuple[float, ...]
    effective_rank: float

    def to_dict(self) -> dict[str, Any]:
        """Return the spectrum as plain data."""
        return {"values": list(self.values), "effective_rank": self.effective_rank}


def spectrum_of(values: NDArray[Any]) -> Spectrum | None:
    """Return the spectrum of a tensor, None where it is no matrix, too large for a page, or not to be computed."""
    if values.ndim < 2 or values.dtype.kind != "f" or not 0 < values.size <= _MOST_ELEMENTS:
        return None
    matrix = values.astype(np.float64).reshape(len(values), -1)
    if min(matrix.shape) > _MOST_ROWS or not np.isfinite(matrix).all():
        return None
    with np.errstate(all="ignore"), contextlib.suppress(np.linalg.LinAlgError):
        return _spectrum(np.linalg.svd(matrix, compute_uv=False))
    return None


def _spectrum(found: NDArray[Any]) -> Spectrum | None:
    total = float(found.sum())
    if not np.isfinite(total):
        return None
    # A share may be too small for a number where its value is not.
    shares = found / total if total > 0 else found
    # A share of nothing adds nothing to the entropy, but its logarithm is infinite.
    shares = shares[shares > 0]
    rank = float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
    return Spectrum(tuple(map(float, found)), rank)
