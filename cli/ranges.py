"""Ranges of the numbers that options take, in words."""

from typing import Any

import click

__all__ = ["range_in_words"]


def range_in_words(kind: click.ParamType[Any]) -> str:
    """Return the range of an option's numbers as a sentence names it, "" where there is none."""
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    if kind.min is not None and kind.max is not None:
        return f"{kind.min:g} to {kind.max:g}" if isinstance(kind, click.FloatRange) else f"{kind.min} to {kind.max}"
    return f"more than {kind.min:g}" if kind.min_open else f"{kind.min:g} or more"
