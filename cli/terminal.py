"""What a stream can show: colour, signs beyond ASCII, its width."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self, TextIO

from ckptfmt.errors import CkptError, printable

__all__ = ["Obeyed", "OutputLost", "Painted", "Terminal", "unobeyed"]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_ASCII = str.maketrans({"✓": "ok", "✗": "FAIL", "×": "x", "±": "+/-", "…": "...", "└": "`-", "█": "#", "→": "->"})
# What a runner of CI obeys when a line of a log begins with it (GitHub, TeamCity), or holds it anywhere (GitHub's
# older form, Azure). Colours before it do not count.
_COMMAND = re.compile(r"^((?:\x1b\[[0-9;]*m|\s)*):(?=:)|#(?=#\w*\[)", re.MULTILINE)


def unobeyed(line: str) -> str:
    """Return a line in which nothing that a stranger named is a command to the runner that logs it."""
    # What is to be found holds one of these two, and one line may be a document of megabytes.
    if "::" not in line and "##" not in line:
        return line
    return _COMMAND.sub(lambda found: "\\x23" if found[1] is None else f"{found[1]}\\x3a", line)


class OutputLost(CkptError):
    """What a command says could not be written; what it does may be done by then. `cause` is the system's error."""

    code = "run.output"
    cause: OSError = OSError()


class Painted(str):
    """Text that may go to a terminal as it is; `shown` is what the eye sees of it, without its colours."""

    shown: str

    def __new__(cls, text: str, shown: str | None = None) -> Self:
        """Make it of text that was escaped."""
        painted = super().__new__(cls, text)
        painted.shown = text if shown is None else shown
        return painted

    @property
    def width(self) -> int:
        """Return how many columns it takes."""
        return len(self.shown)


class Obeyed(Painted):
    """A line that a runner of CI is meant to obey; what strangers named in it was escaped for that."""


class Terminal:
    """One of the two output streams, and what is known of it.

    Colour is decided by `--color`, then NO_COLOR (not empty), FORCE_COLOR (not empty), TERM=dumb, then by
    whether this very stream is a terminal. Text that the encoding lacks is written in ASCII. `name` is what an
    error of the stream calls it.
    """

    def __init__(self, stream: TextIO | None, environ: Mapping[str, str] = os.environ, *, name: str = "") -> None:
        self._stream = stream
        self._name = name
        self._environ = environ
        self.is_terminal = stream is not None and stream.isatty()
        self.colour = self._automatic()
        self._unicode = stream is not None and _can_encode(stream, "✓×…")
        # A name that the encoding lacks is shown with an escape, it must not end the command.
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def choose_colour(self, choice: str) -> None:
        """Follow `--color`: always, never or auto."""
        self.colour = self._automatic() if choice == "auto" else choice == "always"

    @property
    def is_live(self) -> bool:
        """Whether a line can be rewritten on this stream."""
        return self.is_terminal and self._environ.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        """Return how many columns there are; 80 where nobody says."""
        columns = self._environ.get("COLUMNS", "")
        if columns.isdecimal() and int(columns) > 0:
            return int(columns)
        try:
            # What terminals have had since there are any, and what the help is written for.
            return os.get_terminal_size(self._stream.fileno()).columns or 80 if self._stream else 80
        except (OSError, ValueError):
            return 80

    def paint(self, text: str, *styles: str) -> Painted:
        """Return text, escaped and as this stream can show it, in the given styles if it has colour."""
        shown = self._plain(text)
        if not (self.colour and styles and shown):
            return Painted(shown)
        return Painted(f"\x1b[{';'.join(_CODES[style] for style in styles)}m{shown}\x1b[0m", shown)

    def write(self, *parts: str, end: str = "\n") -> None:
        """Write the parts as one line; what is not painted is escaped first."""
        if self._stream is not None:
            with self._told():
                line = "".join(p if isinstance(p, Painted) else self.paint(p) for p in parts)
                self._stream.write((line if parts and isinstance(parts[0], Obeyed) else unobeyed(line)) + end)

    def write_rows(self, rows: Iterable[Painted]) -> None:
        """Write each as a line of its own: a table may have a hundred thousand."""
        if self._stream is not None:
            with self._told():
                self._stream.writelines(f"{unobeyed(row)}\n" for row in rows)

    def flush(self) -> None:
        """Hand on what was written, so that an error in doing so is seen."""
        if self._stream is not None:
            with self._told():
                self._stream.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of an error that it is of what was to be said, not of what was to be done: that may be done by then."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as e:
            self.discard()
            fix = "check before running it again whether the work itself was done"
            lost = OutputLost(f"cannot be written: {e.strerror}", where=self._name, fix=fix)
            lost.cause = e
            raise lost from None

    def discard(self) -> None:
        """Drop what could not be written, so that it is not tried again at exit."""
        if self._stream is not None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def _automatic(self) -> bool:
        if self._environ.get("NO_COLOR"):
            return False
        if self._environ.get("FORCE_COLOR"):
            return True
        return self.is_live

    def _plain(self, text: str) -> str:
        shown = text if text.isascii() and text.isprintable() else printable(text, sys.maxsize - 1)
        return shown if self._unicode else shown.translate(_ASCII)


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
