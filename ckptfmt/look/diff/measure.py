"""The numbers of changed tensors, on all cores."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ckptfmt.format.dtypes import bits_of
from ckptfmt.format.numeric import block_bytes, blocks, has_numbers
from ckptfmt.look.diff.changes import Tolerance, WeightChange
from ckptfmt.look.diff.distance import measure
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

    def measured(change: WeightChange) -> WeightChange | None:
        place = (change.file, change.name)
        if change.op != "changed" or change.from_shape is not None:
            return change
        return _measure(change, a[place], b[place], tolerance)

    if max((_bytes(change) for change in changes), default=0) < _SHARED:
        return _parted(map(measured, changes))
    # Bounds the memory: of two compressed sides each thread may hold a stored and a decoded frame, 16 MB in all.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        done = pool.map(lambda job: list(map(measured, job)), _jobs(changes))
        return _parted(change for job in done for change in job)


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


def _measure(change: WeightChange, a: TensorView, b: TensorView, tolerance: Tolerance) -> WeightChange | None:
    if not has_numbers(a.dtype) or not has_numbers(b.dtype):
        return change
    found = measure(_blocks(a), _blocks(b), (a.dtype, b.dtype), tolerance)
    if tolerance and not found.changed and a.dtype == b.dtype:
        return None
    return replace(
        change,
        rel_l2=found.rel_l2,
        cosine=found.cosine,
        max_abs=found.max_abs,
        changed_fraction=found.changed_fraction,
        non_finite=found.non_finite,
    )


def _blocks(tensor: TensorView) -> Iterator[bytes]:
    size = _AT_ONCE * block_bytes(tensor.dtype)
    return blocks(tensor.chunks(size), size)
