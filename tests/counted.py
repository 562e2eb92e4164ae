"""Work that is counted: the steps of Python and the names that folders give, which no busy machine changes."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

__all__ = ["is_linear", "steps"]


def steps(work: Callable[[], object]) -> int:
    """Return how many instructions Python runs for `work`, in all threads, and how many names folders give it.

    What C does in one call counts once; names of a folder are the one thing of that kind that grows unseen.
    """
    counter = _Counter()
    listed, scanned = os.listdir, os.scandir
    os.listdir, os.scandir = counter.listing(listed), counter.scanning(scanned)
    before = sys.gettrace()
    threading.settrace(counter.trace)
    sys.settrace(counter.trace)
    try:
        work()
    finally:
        sys.settrace(before)
        threading.settrace(before)
        os.listdir, os.scandir = listed, scanned
    return counter.count


def is_linear(counted: list[int]) -> bool:
    """Return whether the work for n, 2n and 4n grows as they do: the second step is twice the first.

    What does not depend on n differs by some hundred steps from run to run, as threads find their work.
    """
    one, two, four = counted
    return four - two <= 2.2 * (two - one) + 500


class _Counter:
    def __init__(self) -> None:
        self.count = 0

    def trace(self, frame: Any, event: str, _: object) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        self.count += event == "opcode"
        return self.trace

    def listing(self, listed: Callable[..., list[str]]) -> Callable[..., list[str]]:
        def count(*args: Any) -> list[str]:
            names = listed(*args)
            self.count += len(names)
            return names

        return count

    def scanning(self, scanned: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any) -> "_Scan":
            return _Scan(scanned(*args), self)

        return count


class _Scan:
    """A scan of a folder whose entries are counted."""

    def __init__(self, scan: Any, counter: _Counter) -> None:
        self._scan, self._counter = scan, counter

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._scan.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._counter.count += 1
        return next(self._scan)

    def close(self) -> None:
        self._scan.close()
