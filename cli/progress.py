"""A bar over bytes for work that takes long, on a terminal only, gone when done."""

import time
from typing import Self

from .terminal import Painted, Terminal

__all__ = ["Progress"]

# Seconds: what ends sooner shows no bar, and a bar is drawn ten times a second at most.
_PATIENCE = 0.5
_PERIOD = 0.1
# With a label and a percentage it fits into a line of 80 columns.
_CELLS = 24


class Progress:
    """A bar that shows itself when the work passes half a second; a context manager."""

    def __init__(self, terminal: Terminal, total: int, label: str, *, silent: bool = False) -> None:
        self._terminal = terminal
        self._total = total
        self._label = label
        self._done = 0
        self._drawn = False
        self._next = time.monotonic() + _PATIENCE if terminal.is_live and not silent else float("inf")

    def advance(self, amount: int) -> None:
        """Say that `amount` more of the total is done."""
        self._done += amount
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PERIOD
            self._draw()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the bar away, before something else is written."""
        if self._drawn:
            self._drawn = False
            self._terminal.write(Painted("\r\x1b[K"), end="")
            self._terminal.flush()

    def _draw(self) -> None:
        self._drawn = True
        share = min(self._done / self._total, 1.0) if self._total else 1.0
        filled = round(share * _CELLS)
        bar = self._terminal.paint("█") * filled + " " * (_CELLS - filled)
        self._terminal.write(Painted("\r\x1b[K"), self._label, Painted(f"  {bar} {share:4.0%}"), end="")
        self._terminal.flush()
