"""Work on many things, given in chunks to an executor of the caller's, whose workers may die or hang.

An executor is anything with the interface of `concurrent.futures`: processes, Dask, mpi4py. What is done with one thing
catches its own errors, so that an error of a future always means a worker that was lost.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

__all__ = ["Spread", "Undone"]

Thing = TypeVar("Thing")
Result = TypeVar("Result")

# Small enough that a lost worker costs little, large enough that what a chunk costs by itself does not count.
_CHUNK, _CHUNKS = 8, 32
# How many chunks are given at once: they keep the workers of some machines busy and bound what is in flight.
_IN_FLIGHT = 64
# How often is looked whether a chunk that waits for its turn has begun; nothing hangs on it.
_LOOK = 1.0
# How often a thing may take its worker with it before it is given up.
_ATTEMPTS = 2


class Undone(Enum):
    """Why there is no result: two workers died of this thing, or the executor broke or hangs and left it."""

    DEADLY = "deadly"
    LEFT = "left"


@dataclass(slots=True)
class _Chunk:
    """Things by their numbers; `deaths` counts the workers that were lost with it."""

    numbers: Sequence[int]
    deaths: int = 0
    began: float = field(default=0.0)


class Spread(Generic[Thing, Result]):
    """One pass over things; iterate over it for (number, result) in the order in which they are known.

    `work` takes a thing. `executor` may be a function that makes one:
    where one breaks it is called again, and where none is given so, what is left is `Undone.LEFT`, as is a chunk that
    runs longer than `timeout` seconds for each thing. No executor is shut down but those that were made.
    """

    def __init__(
        self,
        work: Callable[[Thing], Result],
        things: Sequence[Thing],
        executor: Executor | Callable[[], Executor],
        timeout: float,
    ) -> None:
        self._work, self._things, self._timeout = work, things, timeout
        self._make = None if isinstance(executor, Executor) else executor
        self._executor = executor if isinstance(executor, Executor) else executor()
        size = max(1, min(_CHUNK, len(things) // _CHUNKS))
        self._todo = deque(_Chunk(range(i, min(i + size, len(things)))) for i in range(0, len(things), size))
        # Those that were running when an executor broke: one of them did it, so each is tried with no other beside.
        self._suspects: deque[_Chunk] = deque()
        self._running: dict[Future[list[Result]], _Chunk] = {}
        self._is_broken = False

    def __iter__(self) -> Iterator[tuple[int, Result | Undone]]:
        try:
            while self._todo or self._suspects or self._running:
                self._submit()
                if self._is_broken and not self._renew():
                    yield from self._give_up()
                    return
                ended = [(future, self._running.pop(future)) for future in self._ended()]
                for future, chunk in ended:
                    yield from self._take(future, chunk, alone=len(ended) == 1 and not self._running)
                if any(map(self._hangs, self._running.items())):
                    yield from self._give_up()
                    return
        finally:
            for future in self._running:
                future.cancel()
            if self._make:
                self._executor.shutdown(wait=not self._running)

    def _submit(self) -> None:
        while not self._is_broken and len(self._running) < _IN_FLIGHT:
            if self._todo:
                chunk = self._todo.popleft()
            elif self._suspects and not self._running:
                chunk = self._suspects.popleft()
            else:
                return
            things = [self._things[number] for number in chunk.numbers]
            try:
                future = self._executor.submit(_do, self._work, things)
            except (BrokenExecutor, RuntimeError):
                self._todo.appendleft(chunk)
                self._is_broken = True
                return
            self._running[future] = chunk

    def _ended(self) -> list["Future[list[Result]]"]:
        if not self._running:
            return []
        return list(wait(self._running, _LOOK, FIRST_COMPLETED).done)

    def _take(
        self, future: "Future[list[Result]]", chunk: _Chunk, *, alone: bool
    ) -> Iterator[tuple[int, Result | Undone]]:
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            yield from zip(chunk.numbers, future.result(), strict=True)
            return
        self._is_broken |= isinstance(error, BrokenExecutor)
        # Who breaks an executor breaks all that runs in it: to blame is what ran with nothing beside it.
        if alone or not self._is_broken:
            chunk.deaths += 1
        if len(chunk.numbers) == 1 and chunk.deaths >= _ATTEMPTS:
            yield chunk.numbers[0], Undone.DEADLY
            return
        queue = self._suspects if self._is_broken else self._todo
        queue.extend(_Chunk([number], chunk.deaths) for number in chunk.numbers)

    def _renew(self) -> bool:
        """Make an executor in the place of one that broke; return whether that can be done."""
        if self._make is None:
            return False
        for chunk in self._running.values():
            self._suspects.extend(_Chunk([number], chunk.deaths) for number in chunk.numbers)
        self._running.clear()
        self._executor.shutdown(wait=False)
        self._executor = self._make()
        self._is_broken = False
        return True

    def _hangs(self, running: tuple["Future[list[Result]]", _Chunk]) -> bool:
        future, chunk = running
        if future.done() or not future.running():
            return False
        chunk.began = chunk.began or time.monotonic()
        return time.monotonic() - chunk.began > self._timeout * len(chunk.numbers)

    def _give_up(self) -> Iterator[tuple[int, Result | Undone]]:
        """Wait for what has begun, cancel the rest, and give everything else back."""
        for future in self._running:
            future.cancel()
        wait(self._running, self._timeout)
        left = [*self._todo, *self._suspects]
        for future, chunk in self._running.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                yield from zip(chunk.numbers, future.result(), strict=True)
            else:
                left.append(chunk)
        self._running.clear()
        for chunk in left:
            yield from ((number, Undone.LEFT) for number in chunk.numbers)


def _do(work: Callable[[Thing], Result], things: Sequence[Thing]) -> list[Result]:
    """Work on a chunk of things, in a worker."""
    return [work(thing) for thing in things]
