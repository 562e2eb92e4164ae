"""The numbers that options take, and their ranges in words."""

import math
from typing import Any

import click

__all__ = ["Number", "range_in_words"]


class Number(click.FloatRange):
    """A finite number, in a range where one is given; click takes NaN for a number in any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; fail for what is none, is not finite, or is out of range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number", param, ctx)
        return number


def range_in_words(kind: click.ParamType[Any]) -> str:
    """Return the range of an option's numbers as a sentence names it, "" where there is none."""
    if not isinstance(kind, click.IntRange | click.FloatRange) or kind.min is None:
        return ""
    if kind.max is not None:
        return f"{kind.min:g} to {kind.max:g}" if isinstance(kind, click.FloatRange) else f"{kind.min} to {kind.max}"
    return f"more than {kind.min:g}" if kind.min_open else f"{kind.min:g} or more"
