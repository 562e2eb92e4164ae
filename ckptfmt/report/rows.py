"""What a manifest says, as rows of names and values for people."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.format.plain import plain
from ckptfmt.look.figures import evaluation_points
from ckptfmt.look.sketch import sketch
from ckptfmt.look.summary import Summary

__all__ = ["facts", "flatten", "said"]

# What a page shows of one value; a manifest of 60 MB does not make a page of as many.
_LONGEST = 200
# Rows of a page; the manifest itself holds the rest.
_MOST = 400


def facts(found: Summary) -> list[tuple[str, str]]:
    """Return the first lines of a page: what the checkpoint is, in words."""
    totals = found.totals
    dtypes = ", ".join(map(str, totals["dtypes"]))
    drawn = sketch(found.network or {})
    rows = [
        ("network", ", ".join(filter(None, (found.algorithm, drawn))) or "of unknown architecture"),
        ("environment", str((found.environment or {}).get("id", "not told"))),
        ("weights", f"{totals['parameters']:,} parameters in {totals['tensors']:,} tensors, {dtypes}"),
        ("return", _last_return(found)),
        ("written", found.created_at),
        ("identity", found.content_digest),
    ]
    return [(name, printable(value, _LONGEST)) for name, value in rows]


def flatten(told: Any, path: str = "") -> list[tuple[str, str]]:
    """Return the leaves of nested values as (dotted path, text), cut where there are too many."""
    rows: list[tuple[str, str]] = []
    for name, value in _leaves(told, path):
        if len(rows) == _MOST:
            rows.append(("…", f"more than {_MOST} values"))
            break
        rows.append((printable(name, 80), said(value)))
    return rows


def said(value: Any) -> str:
    """Return a value as a page shows it: as JSON writes it, but text as it is, cut where it is too long."""
    return printable(value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False), _LONGEST)


def _last_return(found: Summary) -> str:
    points = evaluation_points(found.evaluation)
    if not points:
        return "not evaluated"
    _, mean, spread = points[-1]
    return f"{mean:,.2f} ± {spread:,.2f}"


def _leaves(told: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(told, Mapping) and told:
        for name, value in told.items():
            yield from _leaves(value, f"{path}.{name}" if path else str(name))
    elif told is not None and told != {}:
        yield path, plain(told)
