"""Results as a notebook shows them: one line that says what it is, and the rest folded below.

The colours are those of the notebook, light or dark; there is no script and no style. All text is escaped.
"""

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from ckptfmt.errors import printable

__all__ = ["Folds", "Shown"]

# A few screens of it: a notebook is saved with everything that was shown in it.
_MOST_ROWS = 200
_MOST_TEXT = 200

# The summary of a fold, and its rows; the first cell of a row is its name.
Folds = Mapping[str, Iterable[Sequence[Any]]]


class Shown(ABC):
    """Something with a `_notebook_` that returns its first line and its folds; the rich display of IPython uses it."""

    __slots__ = ()

    @abstractmethod
    def _notebook_(self) -> tuple[str, Folds]: ...

    def _repr_html_(self) -> str:
        """Return it as HTML."""
        first, folds = self._notebook_()
        return f"<div><p><strong>{_text(first)}</strong></p>{''.join(map(_fold, folds, folds.values()))}</div>"

    def _repr_mimebundle_(self, include: Container[str] | None = None, exclude: Container[str] | None = None) -> Any:
        """Return it as HTML and, for who shows none, as plain text."""
        made = {"text/plain": repr(self), "text/html": self._repr_html_()}
        return {
            kind: text
            for kind, text in made.items()
            if (not include or kind in include) and (not exclude or kind not in exclude)
        }


def _fold(summary: str, rows: Iterable[Sequence[Any]]) -> str:
    given = iter(rows)
    shown = list(islice(given, _MOST_ROWS))
    if not shown:
        return ""
    more = sum(1 for _ in given)
    body = "".join(_row(row) for row in shown) + (f"<tr><td>and {more:,} more</td></tr>" if more else "")
    return f"<details><summary>{_text(summary)}</summary><table>{body}</table></details>"


def _row(row: Sequence[Any]) -> str:
    name, *cells = row
    values = "".join(f"<td>{_text(cell)}</td>" for cell in cells)
    return f"<tr><th>{_text(name)}</th>{values}</tr>"


def _text(value: Any) -> str:
    # The one import that waits: it brings a table of two thousand names, and most who open a checkpoint show none.
    from html import escape

    return escape(printable(value, _MOST_TEXT))
