"""SIGTERM: what is done first by a process that is told to end."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["on_sigterm"]


@contextlib.contextmanager
def on_sigterm(first: Callable[[], object]) -> Iterator[None]:
    """While the block runs, let SIGTERM call `first`, and then do what it would have done; for the main thread."""

    def handle(number: int, frame: FrameType | None) -> None:
        first()
        # Put back first: a second SIGTERM ends a process that hangs in its own handler.
        signal.signal(number, before)
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:
            signal.raise_signal(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
