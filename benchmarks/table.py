"""The results as a table of text."""

from collections.abc import Sequence

from benchmarks.measure import Result

__all__ = ["lines"]

_HEAD = ("#", "work", "against", "ours", "theirs", "value", "goal", "lowest–highest", "disk GB/s", "")


def lines(results: Sequence[Result]) -> list[str]:
    """Return the lines of the table, as Markdown has it."""
    rows = [_HEAD, *map(_row, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    text = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    return [text[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *text[1:]]


def _row(result: Result) -> tuple[str, ...]:
    ours, theirs = (_seconds(seconds) for seconds in (result.ours, result.theirs))
    low, high = result.spread or (result.value, result.value)
    spread = f"{number(low)}–{number(high)}" if result.spread else ""
    value, goal = (f"{number(figure)} {result.unit}" for figure in (result.value, result.goal))
    work = (str(result.row), result.work, result.against)
    disk = "" if result.disk is None else f"{result.disk:.2f}"
    return (*work, ours, theirs, value, f"≤ {goal}", spread, disk, "reached" if result.reached else "MISSED")


def number(figure: float) -> str:
    """Return a figure with three digits."""
    return f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
