"""How numbers, sizes and shapes are written for people."""

import math
from collections.abc import Sequence
from decimal import Decimal

from ckptfmt.format.safetensors import shape_text

__all__ = ["count", "number", "plural", "shape", "short_digest", "size"]


# Beyond, floating-point numbers are not whole numbers of their digits any more.
_EXACT = 10**15


def size(bytes_: int) -> str:
    """Return a size in MiB, or in KiB and bytes where that would round to nothing."""
    if bytes_ >= 1 << 20:
        return f"{bytes_ / (1 << 20):,.1f} MiB"
    return f"{bytes_ / 1024:.1f} KiB" if bytes_ >= 1024 else plural(bytes_, "byte")


def count(value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """Return a number with its noun, for example `1 tensor` and `2 tensors`."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def shape(dimensions: Sequence[int]) -> str:
    """Return dimensions as `32×4×8×8`; a tensor without any is a scalar."""
    return shape_text(dimensions, "scalar")


def number(value: float) -> str:
    """Return a number in four significant digits, whole numbers whole."""
    if isinstance(value, int) and abs(value) >= _EXACT:
        return f"{Decimal(value):.4g}"  # there are whole numbers that no float comes near
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < _EXACT:
        return f"{int(value):,}"
    # Between a thousandth and ten thousand four decimals read better than an exponent.
    return f"{value:.4g}" if abs(value) < 1e-3 or abs(value) >= 1e4 else f"{value:.4f}"


def short_digest(digest: str) -> str:
    """Return `sha256 9c1f3d2a` of `sha256:9c1f3d2a…`."""
    kind, _, digits = digest.rpartition(":")
    return f"{kind} {digits[:8]}".strip()
