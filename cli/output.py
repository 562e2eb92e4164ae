"""What a command says: its answer on stdout as text or one JSON document, everything else on stderr."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ckptfmt import __version__
from ckptfmt.errors import CkptError, Problem
from ckptfmt.format.uncollected import uncollected

from .progress import Progress
from .terminal import Painted, Terminal
from .wording import on_the_command_line, sentence

__all__ = ["Output"]

_SIGNS = {
    "good": ("✓", "green"),
    "bad": ("✗", "red"),
    "warning": ("!", "yellow"),
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "changed": ("~", "yellow"),
}
# Columns between two cells, and what a cell is not cut below: less than that says nothing of what it was.
_GAP = 2
_LEAST_WIDTH = 8
# Bytes that a document may be made of: one of a comparison has a hundred thousand lists and objects.
_MADE = 1 << 20


class Output:
    """The voice of one command.

    A command calls `line` and `table` for its text and `result` for its JSON; which of them is seen is
    decided here. Its exit code is what it returns: 0, or 1 for "looked, and the answer is no".
    """

    def __init__(self, command: str = "") -> None:
        self.command = command
        # Those of the command; what mends an error is said in them.
        self.options: frozenset[str] | None = None
        self.as_json = False
        self.quiet = False
        self.verbose = False
        self.truncate = True
        self.exit_zero = False
        self.out = Terminal(sys.stdout, name="standard output")
        self.err = Terminal(sys.stderr, name="standard error")
        self._result: Any = None
        self._streamed = False
        self._was_cut = False

    @property
    def as_text(self) -> bool:
        """Whether the answer is text that somebody reads."""
        return not self.as_json and not self.quiet

    def choose_colour(self, choice: str) -> None:
        """Follow `--color` on both streams."""
        self.out.choose_colour(choice)
        self.err.choose_colour(choice)

    def line(self, *parts: str) -> None:
        """Write one line of the answer."""
        if self.as_text:
            self.out.write(*parts)

    def fields(self, values: Sequence[str]) -> None:
        """Write one line of values with tabs between them, which a value itself cannot hold."""
        self.line(Painted("\t".join(self.out.paint(value) for value in values)))

    def raw(self, text: str) -> None:
        """Write text of our own making as it is, such as a schema or a script."""
        if self.as_text:
            self.out.write(Painted(text), end="")

    def paint(self, text: str, *styles: str) -> Painted:
        """Return text for `line` in styles: bold, dim, red, green, yellow."""
        return self.out.paint(text, *styles)

    def sign(self, meaning: str) -> Painted:
        """Return the sign that carries a meaning: good, bad, warning, added, removed, changed."""
        sign, colour = _SIGNS[meaning]
        return self.out.paint(sign, colour)

    def table(self, rows: Sequence[Sequence[str]], *, header: Sequence[str] = (), right: Sequence[int] = ()) -> None:
        """Write rows in columns two spaces apart; the columns in `right` hold numbers.

        Cells are cut to the terminal's width, on a terminal only.
        """
        if not self.as_text or not (rows or header):
            return
        cells = [[self._cell(cell) for cell in row] for row in rows]
        head = [[self.paint(cell, "dim") for cell in header]] if header else []
        widths = [max([len(cell.shown) for cell in column]) for column in zip(*head, *cells, strict=True)]
        fitted = self._fit(widths, right)
        self.out.write_rows(self._row(row, fitted, right) for row in (*head, *cells))

    def result(self, value: Any) -> None:
        """Set the `result` of the JSON document."""
        self._result = value

    def stream(self, value: Mapping[str, Any]) -> None:
        """Write one JSON object now, for answers that come line by line."""
        if self.as_json and not self.quiet:
            self._streamed = True
            self._document(value)
            self.out.flush()

    def note(self, *parts: str) -> None:
        """Write a hint on stderr."""
        if not self.quiet:
            self.err.write(*parts)

    def warning(self, finding: Problem | str) -> None:
        """Write a warning on stderr, with where it is and how to mend it."""
        if self.quiet:
            return
        text = sentence(finding, self.options) if isinstance(finding, Problem) else finding
        self.err.write(self.err.paint("warning:", "yellow"), " ", text)

    def error(self, error: CkptError) -> None:
        """Write an error as one line on stderr."""
        self.err.write(self.err.paint("error:", "red", "bold"), " ", str(on_the_command_line(error, self.options)))

    def progress(self, total: int, label: str) -> Progress:
        """Return a bar over `total` bytes; it shows itself on a terminal, after half a second."""
        return Progress(self.err, total, label, silent=self.quiet)

    def finish(self, code: int) -> int:
        """Write what is still to be written and return the exit code."""
        shown = 0 if code == 1 and self.exit_zero else code
        if self.as_json and not (self._streamed and self._result is None):
            self._document(self._envelope(shown, code == 0, result=self._result))
        if self._was_cut:
            self.note(
                self.err.paint(
                    "cells are shortened to the terminal's width; show them whole with: --no-truncate", "dim"
                )
            )
        self._flush()
        return shown

    def fail(self, error: CkptError, code: int) -> int:
        """Write an error as one line on stderr, and as the document where JSON was asked for."""
        self.error(error)
        if self.as_json:
            self._document(self._envelope(code, False, error=error.to_dict()))
        self._flush()
        return code

    def _envelope(self, code: int, ok: bool, **answer: Any) -> dict[str, Any]:
        return {"ckpt": __version__, "command": self.command, "ok": ok, "exit": code, **answer}

    def _document(self, value: Any) -> None:
        # ASCII, since JSON leaves control characters of the upper half as they are, and a terminal obeys them.
        if not self.quiet:
            with uncollected(_MADE):
                text = json.dumps(_finite(value), allow_nan=False)
            # A runner of CI obeys some words that begin so; another spelling of the same text.
            self.out.write(Painted(text.replace("##", "#\\u0023")))

    def _flush(self) -> None:
        self.out.flush()
        self.err.flush()

    def _cell(self, text: str) -> Painted:
        return text if isinstance(text, Painted) else self.out.paint(text)

    def _fit(self, widths: list[int], right: Sequence[int]) -> list[int]:
        """Narrow the widest columns of text until the row fits a terminal."""
        if not self.out.is_terminal or not self.truncate:
            return widths
        fitted = list(widths)
        surplus = sum(widths) + _GAP * (len(widths) - 1) - self.out.width
        while surplus > 0:
            widest = max((i for i in range(len(fitted)) if i not in right), key=fitted.__getitem__, default=None)
            if widest is None or fitted[widest] <= _LEAST_WIDTH:
                break
            fitted[widest] -= 1
            surplus -= 1
        return fitted

    def _row(self, row: Sequence[Painted], widths: Sequence[int], right: Sequence[int]) -> Painted:
        parts = []
        for i, cell in enumerate(row):
            shown = cell if len(cell.shown) <= widths[i] else self._cut(cell, widths[i])
            pad = " " * (widths[i] - len(shown.shown))
            parts.append(pad + shown if i in right else shown + pad)
        return Painted((" " * _GAP).join(parts).rstrip(" "))

    def _cut(self, cell: Painted, width: int) -> Painted:
        self._was_cut = True
        mark = self.out.paint("…")
        kept = cell.shown[: width - mark.width] + mark
        return Painted(cell.replace(cell.shown, kept), kept)


def _finite(value: Any) -> Any:
    """Return a JSON value in which NaN and infinities are the strings that JSON can hold."""
    # Text and whole numbers are most of what there is: nothing else is asked of them.
    if isinstance(value, str | int):
        return value
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
