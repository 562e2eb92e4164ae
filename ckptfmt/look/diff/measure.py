"""The numbers of changed tensors, on all cores."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain

from ckptfmt.format.dtypes import bits_of
from ckptfmt.format.numeric import block_bytes, blocks, has_numbers
from ckptfmt.look.diff.changes import Tolerance, WeightChange
from ckptfmt.look.diff.distance import Distance, is_small, measure, measure_small
from ckptfmt.look.diff.views import TensorView

__all__ = ["measure_all"]

# Bytes of a job for one thread: to hand over a small tensor costs more than its numbers.
_JOB = 1 << 20
# Bytes of a tensor from which on threads are worth it: for smaller ones they hand the interpreter's lock to each other
# and share nothing. 32,768 tensors of one number took 8.1 s of processor time in two threads, and 4.7 s in one.
_SHARED = 1 << 16
# Blocks taken at once: threads that hand the interpreter's lock to each other for every small one wait for it longer
# than they work.
_AT_ONCE = 4

_Tensors = Mapping[tuple[str, str], TensorView]


def measure_all(
    changes: list[WeightChange], a: _Tensors, b: _Tensors, tolerance: Tolerance
) -> tuple[list[WeightChange], int]:
    """Return the changes with their numbers, and how many tensors differ only within the tolerance."""

    def measured(job: list[WeightChange]) -> list[WeightChange | None]:
        small = {} if tolerance else _measure_small(job, a, b)
        return [_measure(change, small.get(_place(change)), a, b, tolerance) for change in job]

    if max((_bytes(change) for change in changes), default=0) < _SHARED:
        return _parted(chain.from_iterable(map(measured, _jobs(changes))))
    # Bounds the memory: of two compressed sides each thread may hold a stored and a decoded frame, 16 MB in all.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return _parted(chain.from_iterable(pool.map(measured, _jobs(changes))))


def _parted(measured: Iterable[WeightChange | None]) -> tuple[list[WeightChange], int]:
    found = list(measured)
    return [change for change in found if change is not None], found.count(None)


def _bytes(change: WeightChange) -> int:
    return math.prod(change.shape) * bits_of(change.dtype) // 8


def _jobs(changes: list[WeightChange]) -> Iterator[list[WeightChange]]:
    """Yield the changes in their order, small tensors together."""
    job: list[WeightChange] = []
    size = 0
    for change in changes:
        job.append(change)
        # Beside its bytes a tensor takes some calls, which are worth as much as some hundred of them.
        size += _bytes(change) + 512
        if size >= _JOB:
            yield job
            job, size = [], 0
    if job:
        yield job


def _is_measured(change: WeightChange, a: _Tensors) -> bool:
    """Return whether there are two tensors of one shape to measure, and elements that can be decoded."""
    if change.op != "changed" or change.from_shape is not None:
        return False
    return has_numbers(change.dtype) and has_numbers(a[_place(change)].dtype)


def _place(change: WeightChange) -> tuple[str, str]:
    return change.file, change.name


def _measure_small(changes: list[WeightChange], a: _Tensors, b: _Tensors) -> dict[tuple[str, str], Distance]:
    """Return the distances of small tensors, by their places; all of a dtype are measured at once."""
    found: dict[tuple[str, str], Distance] = {}
    by_dtype: dict[str, list[tuple[str, str]]] = {}
    for change in changes:
        if change.from_dtype is None and _is_measured(change, a) and is_small(change.dtype, change.shape):
            by_dtype.setdefault(change.dtype, []).append(_place(change))
    for dtype, places in by_dtype.items():
        pairs = [(_all_of(a[place]), _all_of(b[place])) for place in places]
        found.update(zip(places, measure_small(pairs, dtype), strict=True))
    return found


def _measure(
    change: WeightChange, found: Distance | None, a: _Tensors, b: _Tensors, tolerance: Tolerance
) -> WeightChange | None:
    """Return a change with its numbers, which are measured unless they were `found`; None within the tolerance."""
    if not _is_measured(change, a):
        return change
    if found is None:
        left, right = a[_place(change)], b[_place(change)]
        found = measure(_blocks(left), _blocks(right), (left.dtype, right.dtype), tolerance)
        if tolerance and not found.changed and left.dtype == right.dtype:
            return None
    return replace(
        change,
        rel_l2=found.rel_l2,
        cosine=found.cosine,
        max_abs=found.max_abs,
        changed_fraction=found.changed_fraction,
        non_finite=found.non_finite,
    )


def _all_of(small: TensorView) -> bytes:
    return b"".join(small.chunks(_SHARED))


def _blocks(tensor: TensorView) -> Iterator[bytes]:
    size = _AT_ONCE * block_bytes(tensor.dtype)
    return blocks(tensor.chunks(size), size)
