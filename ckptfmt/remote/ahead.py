"""Work on things of a store, many at once: each is a request or a few, and most of its time is waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice
from typing import TypeVar

from ckptfmt.errors import CkptError
from ckptfmt.remote.url import is_url

__all__ = ["ahead", "each"]

# What one process asks for at the same time: beyond it the processor is the limit.
_TOGETHER = 16

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")


def ahead(work: Callable[[_Thing], _Result], things: Iterable[_Thing]) -> Iterator[_Result]:
    """Yield what `work` makes of each thing, in their order, and raise what it raises.

    Things are taken as they are needed, the first result comes before the second thing is asked for, and what is known
    ahead of whoever takes the results is bounded. It begins with one and runs further ahead the more are taken: of two
    that are wanted few are asked for in vain.
    """
    left = iter(things)
    known: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(_TOGETHER)
    taken = 0
    try:
        while True:
            # Twice as many as there are threads: none is idle while the oldest one is waited for.
            room = min(2 * _TOGETHER, taken + 1) - len(known)
            known.extend(pool.submit(work, thing) for thing in islice(left, room))
            if not known:
                return
            yield known.popleft().result()
            taken += 1
    finally:
        pool.shutdown(cancel_futures=True)


def each(work: Callable[[str], _Result], paths: Iterable[str]) -> Iterator[_Result]:
    """Yield what `work` makes of each path, in their order; what lies in a store is worked on ahead."""
    for is_far, group in groupby(paths, _is_far):
        go = ahead if is_far else map
        yield from go(work, group)


def _is_far(path: str) -> bool:
    try:
        return is_url(path)
    except CkptError:
        # What is wrong with it is said by the work, of this path alone.
        return False
