"""Do independent jobs in as many processes as there are processors."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

# Where states that need no disk are made: in memory, if there is such a place.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()

_Answer = TypeVar("_Answer")
_jobs: Sequence[tuple[Any, ...]] = ()
_do: Callable[..., Any] = print


def in_parallel(do: Callable[..., _Answer], jobs: Sequence[tuple[Any, ...]]) -> list[_Answer]:
    """Return `do(*job)` for each job, in order. Processes are forked: jobs may be anything."""
    global _jobs, _do
    _jobs, _do = jobs, do
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        return pool.map(_one, range(len(jobs)), chunksize=4)


def _one(number: int) -> Any:
    return _do(*_jobs[number])
