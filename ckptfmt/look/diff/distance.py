"""How far apart two tensors of one shape are, in one pass over both."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ckptfmt.format.dtypes import bits_of
from ckptfmt.format.numeric import widen
from ckptfmt.format.tensors import decode
from ckptfmt.look.diff.changes import Tolerance

__all__ = ["Distance", "Tolerance", "is_small", "measure", "measure_small"]


@dataclass(slots=True)
class Distance:
    """Sums over pairs of elements; `changed` and `non_finite` count elements, as `WeightChange` says."""

    elements: int = 0
    changed: int = 0
    non_finite: int = 0
    max_abs: float = 0.0
    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    dd: float = 0.0

    @property
    def rel_l2(self) -> float | None:
        """Return |b - a| / |a|, infinite where a is all zero and b is not; None beyond the range of numbers."""
        if not math.isfinite(self.aa + self.dd):
            return None
        if self.aa == 0:
            return math.inf if self.dd else 0.0
        return math.sqrt(self.dd) / math.sqrt(self.aa)

    @property
    def cosine(self) -> float | None:
        """Return the cosine of the angle between a and b; None where one has no direction."""
        if self.aa == 0 or self.bb == 0 or not math.isfinite(self.aa + self.bb):
            return None
        # Two roots and not that of the product, which overflows first; rounding may leave the range by a bit.
        return max(-1.0, min(1.0, self.ab / math.sqrt(self.aa) / math.sqrt(self.bb)))

    @property
    def changed_fraction(self) -> float:
        """Return the share of elements that changed."""
        return self.changed / self.elements if self.elements else 0.0


def measure(a: Iterator[bytes], b: Iterator[bytes], dtypes: tuple[str, str], tolerance: Tolerance) -> Distance:
    """Return how far b is from a; both come in blocks of equal numbers of elements of their dtypes."""
    total = Distance()
    room = _Room() if dtypes[0] == dtypes[1] and dtypes[0] not in _SPECIAL and not tolerance else None
    # Infinity minus infinity, and squares beyond the range of numbers, are dealt with where they matter.
    with np.errstate(all="ignore"):
        for left, right in zip(a, b, strict=True):
            if dtypes[0] == dtypes[1] and left == right:
                _add_equal(total, left, dtypes[0])
            elif room is None or len(left) < _SMALL or not _add_finite(total, left, right, dtypes[0], room):
                _add(total, left, right, dtypes, tolerance)
    return total


def is_small(dtype: str, shape: tuple[int, ...]) -> bool:
    """Return whether a tensor has so few real numbers that the calls for it cost more than they do."""
    return dtype not in _SPECIAL and 0 < math.prod(shape) * bits_of(dtype) // 8 < _SMALL


def measure_small(pairs: Sequence[tuple[bytes, bytes]], dtype: str) -> list[Distance]:
    """Return how far the second of each pair is from the first, all at once: all bytes of small tensors of a dtype."""
    left, right = (b"".join(side) for side in zip(*pairs, strict=True))
    a, b = widen(left, dtype), widen(right, dtype)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return [measure(iter([one]), iter([other]), (dtype, dtype), Tolerance()) for one, other in pairs]
    sizes = [len(one) * 8 // bits_of(dtype) for one, _ in pairs]
    starts = np.cumsum([0, *sizes[:-1]])
    with np.errstate(all="ignore"):
        gap = np.abs(b - a)
        products = ((a, a), (b, b), (a, b), (gap, gap))
        sums = [np.add.reduceat(one * other, starts).tolist() for one, other in products]
    changed = np.add.reduceat(_differing(left, right, a, b, (dtype, dtype)), starts, dtype=np.int64).tolist()
    none = [0] * len(pairs)
    return list(map(Distance, sizes, changed, none, np.maximum.reduceat(gap, starts).tolist(), *sums))


class _Room:
    """Memory for blocks of one size, used again from block to block: fresh memory costs more than the numbers."""

    def __init__(self) -> None:
        self._shape = (0, _ROW)

    def widen(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return both as float64 in rows of `_ROW`, zeros behind their ends, and as much room again."""
        shape = (-(-left.size // _ROW), _ROW)
        if shape != self._shape:
            self._shape = shape
            # The two that are compared, and the gap between them.
            self._arrays = np.zeros((3, *shape))
        for values, array in zip((left, right), self._arrays, strict=False):
            flat = array.reshape(-1)
            np.copyto(flat[: values.size], values, casting="unsafe")
            flat[values.size :] = 0
        return self._arrays[0], self._arrays[1], self._arrays[2]


def _add_finite(total: Distance, left: bytes, right: bytes, dtype: str, room: _Room) -> bool:
    """Add a block of finite real numbers in as few passes as there are sums; return False where it is not one."""
    elements = len(left) * 8 // bits_of(dtype)
    a, b, gap = room.widen(decode(left, dtype, (elements,)), decode(right, dtype, (elements,)))
    aa, bb = _rows_dot(a, a), _rows_dot(b, b)
    if not math.isfinite(aa + bb):
        return False
    np.subtract(b, a, out=gap)
    np.abs(gap, out=gap)
    word = f"u{bits_of(dtype) // 8}"
    total.elements += elements
    total.changed += int(np.count_nonzero(np.frombuffer(left, word) != np.frombuffer(right, word)))
    total.max_abs = max(total.max_abs, float(gap.max(initial=0)))
    total.aa, total.bb = total.aa + aa, total.bb + bb
    total.ab, total.dd = total.ab + _rows_dot(a, b), total.dd + _rows_dot(gap, gap)
    return True


def _rows_dot(a: np.ndarray, b: np.ndarray) -> float:
    # A product of matrices for each row: BLAS begins threads of its own for longer rows, which fight ours.
    return float(np.matmul(a[:, None, :], b[:, :, None]).sum())


def _add_equal(total: Distance, data: bytes, dtype: str) -> None:
    values = widen(data, dtype)
    square = _dot(values, values)
    # One look at the sum finds NaN and infinities; nearly no block has any, and then no other look is needed.
    if not math.isfinite(square):
        values = np.where(np.isfinite(values), values, 0)
        square = _dot(values, values)
    total.elements += values.size
    total.aa, total.bb, total.ab = total.aa + square, total.bb + square, total.ab + square


def _add(total: Distance, left: bytes, right: bytes, dtypes: tuple[str, str], tolerance: Tolerance) -> None:
    a, b = widen(left, dtypes[0]), widen(right, dtypes[1])
    changed = _differing(left, right, a, b, dtypes)
    beyond: np.ndarray | bool = False
    aa, bb = _dot(a, a), _dot(b, b)
    if not math.isfinite(aa + bb):
        finite = np.isfinite(a) & np.isfinite(b)
        beyond = changed & ~finite
        total.non_finite += int(np.count_nonzero(beyond))
        a, b = np.where(finite, a, 0), np.where(finite, b, 0)
        aa, bb = _dot(a, a), _dot(b, b)
    gap = _integer_gap(left, right, dtypes[0]) if dtypes in _WIDE_INTEGERS else np.abs(b - a)
    if tolerance:
        changed &= beyond | (gap > tolerance.atol + tolerance.rtol * np.abs(a))
    total.elements += a.size
    total.changed += int(np.count_nonzero(changed))
    total.max_abs = max(total.max_abs, float(gap.max(initial=0)))
    total.aa, total.bb = total.aa + aa, total.bb + bb
    total.ab, total.dd = total.ab + _dot(a, b), total.dd + _dot(gap, gap)


def _differing(left: bytes, right: bytes, a: np.ndarray, b: np.ndarray, dtypes: tuple[str, str]) -> np.ndarray:
    """Tell elements apart by their bytes; of different dtypes, by their values."""
    if dtypes[0] == dtypes[1]:
        # As whole numbers, since a NaN is not equal to itself and -0.0 is to 0.0.
        word = f"u{bits_of(dtypes[0]) // 8}"
        differing: np.ndarray = np.frombuffer(left, word) != np.frombuffer(right, word)
        return differing
    unequal: np.ndarray = (a != b) & ~(np.isnan(a) & np.isnan(b))
    return unequal


_WIDE_INTEGERS = (("I64", "I64"), ("U64", "U64"))
# What float64 cannot hold, or not in one number.
_SPECIAL = frozenset({"I64", "U64", "C64"})
# Bytes of a block that is shorter than a row by far, for which rows of zeros would cost more than its numbers.
_SMALL = 4096
# Sums are taken in rows and then over them, which keeps rounding small; a row of float64 fits a core's cache.
_ROW = 8192


def _integer_gap(left: bytes, right: bytes, dtype: str) -> np.ndarray:
    """Subtract integers of 64 bits without rounding them first; their distance fits into 64 bits."""
    a, b = (np.frombuffer(data, "<i8" if dtype == "I64" else "<u8") for data in (left, right))
    forth, back = b.view("u8") - a.view("u8"), a.view("u8") - b.view("u8")
    gap: np.ndarray = np.where(b > a, forth, back).astype("f8")
    return gap


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    # Not BLAS: its threads would fight over the cores with ours, at a hundred times the cost.
    return float(np.einsum("i,i->", a.conj() if a.dtype.kind == "c" else a, b).real)
