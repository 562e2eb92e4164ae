"""Processes that convert files, of which one may die or hang: only the file that it had fails, by its name.

They are Pebble's: of what was tried, it alone knows which file a worker died of and ends one that hangs.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext
from typing import Any, NoReturn

from pebble import ProcessExpired, ProcessPool

from ckptfmt.convert.outcome import ALONE, Outcome, failed
from ckptfmt.convert.sources import Item
from ckptfmt.errors import CkptError

__all__ = ["in_workers"]

_Convert = Callable[[Item, Mapping[str, Any]], Outcome]


def in_workers(
    convert: _Convert, items: Sequence[Item], workers: int, timeout: float, options: Mapping[str, Any]
) -> Iterator[Outcome]:
    """Convert each item by `convert`, a function of a module, and yield what became of it, in their order.

    One that ends its process, or takes longer than `timeout` seconds, fails. Raises `CkptError` where no process can
    be started.
    """
    context = _KeepingContext()
    pool = ProcessPool(max_workers=workers, initializer=_begin, context=context)
    try:
        with _ctrl_c_withheld():
            futures = [pool.schedule(_work, args=(convert, item, options), timeout=timeout) for item in items]
        for item, future in zip(items, futures, strict=True):
            try:
                outcome = future.result()
            except ProcessExpired as e:
                code = e.exitcode
                # As `multiprocessing` has it: a negative exit code is a signal.
                how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
                outcome = failed(item, f"the process that converted it {how}", "convert.worker", ALONE)
            except TimeoutError:
                outcome = failed(
                    item, f"took longer than {timeout:g} seconds", "convert.worker", "allow more with timeout="
                )
            except BrokenExecutor:
                raise _cannot_start() from None
            yield outcome
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


class _KeepingContext(SpawnContext):
    """Keeps the locks that it makes: the pool drops its own first, where a worker that still starts looks for them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def RLock(self) -> Any:  # noqa: N802 (the name that it overrides)
        self.kept.append(super().RLock())
        return self.kept[-1]


@contextlib.contextmanager
def _ctrl_c_withheld() -> Iterator[None]:
    """Keep Ctrl-C from what is started in the block: a worker that is still importing would print a traceback.

    The threads that start workers inherit the mask, and the workers theirs; here it is as before after the block.
    """
    # Started within, it would lift the mask of the thread that starts it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # A process that begins with Ctrl-C ignored installs no handler for it, whatever becomes of its mask.
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cannot_start() -> CkptError:
    return CkptError(
        "no worker process can be started",
        where="convert_many",
        fix="in a script, call it under: if __name__ == '__main__'",
        code="convert.no-workers",
    )


_converting = False
_ending = False


def _begin() -> None:
    """Be a worker: Ctrl-C reaches the whole group, and the parent alone decides when a worker ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _told_to_end)


def _work(convert: _Convert, item: Item, options: Mapping[str, Any]) -> Outcome:
    global _converting
    _converting = True
    try:
        return convert(item, {**options, "progress": _go_on})
    except KeyboardInterrupt:
        _end()
    finally:
        _converting = False
        if _ending:
            _end()


def _told_to_end(*_: object) -> None:
    """End at once, or where the file at hand can be left: an exception just anywhere would leave a lock behind."""
    global _ending
    _ending = True
    if not _converting:
        _end()


def _go_on(_: int) -> None:
    if _ending:
        raise KeyboardInterrupt


def _end() -> NoReturn:
    # The pool takes any exception for the answer of a file, and would give the worker another one.
    os._exit(128 + signal.SIGTERM)
