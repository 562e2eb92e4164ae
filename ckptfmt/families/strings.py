"""How rows of layers may be strung: the chains in which each layer takes what the one before it gives."""

from collections.abc import Sequence

from ckptfmt.families.outline import Chain, Row, Unit, fits

__all__ = ["strings"]

# Networks have few rows of layers; more are no one network, and would take long to string.
_MOST_ROWS, _MOST_CHAINS = 24, 16


def strings(rows: Sequence[Row]) -> list[Chain]:
    """Return the ways in which rows make one chain, each used once, that of the file's order first."""
    found: list[Chain] = []
    if len(rows) <= _MOST_ROWS:
        _string([], list(rows), found)
    return found


def _string(before: list[Unit], left: list[Row], found: list[Chain]) -> None:
    if len(found) >= _MOST_CHAINS:
        return
    last = before[-1] if before else None
    ends = [row for row in left if len(row.units) == 1 and row.units[0].kind in ("linear", "noisy")]
    alike = len(ends) == len(left) > 1 and len({row.units[0].inputs for row in ends}) == 1
    deeper = alike and any(ends[0].units[0].inputs == row.outputs for row in ends)
    if alike and last and not deeper and fits(last, left[0].units[0]):
        found.append(Chain(tuple(before), tuple(row.units[0] for row in left)))
        return
    for i, row in enumerate(left):
        if last is not None and not fits(last, row.units[0]):
            continue
        rest = left[:i] + left[i + 1 :]
        if rest:
            _string([*before, *row.units], rest, found)
        elif row.units[-1].kind in ("linear", "noisy") and row.units[-1].norm is None:
            found.append(Chain((*before, *row.units[:-1]), row.units[-1:]))
