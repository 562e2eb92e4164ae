"""What the shell offers for an argument: folders that hold a manifest, and tensor names from it."""

import json
import os
from collections.abc import Iterator
from typing import Any

import click

from ckptfmt.format.files import MANIFEST

__all__ = ["checkpoints", "tensors"]

_MAX_DEPTH = 4
_MAX_ENTRIES = 5000


def checkpoints(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the checkpoints whose path starts with `incomplete`, those a few folders deeper among them."""
    folder, start = os.path.split(incomplete)
    budget = iter(range(_MAX_ENTRIES))
    found = _below(os.path.expanduser(folder) or ".", start, _MAX_DEPTH, budget)
    return sorted(os.path.join(folder, *parts) for parts in found)


def tensors(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the tensors in the checkpoints that were given so far."""
    names: set[str] = set()
    for path in _given(ctx):
        names.update(_names(path))
    return sorted(name for name in names if name.startswith(incomplete) and name.isprintable())


def _below(folder: str, start: str, depth: int, budget: Iterator[int]) -> Iterator[tuple[str, ...]]:
    try:
        entries = [e for e in os.scandir(folder) if e.name.startswith(start) and (start or e.name[0] != ".")]
    except OSError:
        return
    for entry, _ in zip(entries, budget, strict=False):
        if not entry.is_dir():
            continue
        if os.path.exists(os.path.join(entry.path, MANIFEST)):
            yield (entry.name,)
        elif depth > 1:
            yield from ((entry.name, *rest) for rest in _below(entry.path, "", depth - 1, budget))


def _given(ctx: click.Context) -> list[str]:
    """Return the arguments so far; an option that still waits for its value hides them from the context."""
    parsed: list[Any] = [value for value in ctx.params.values() if value]
    words = [word for value in parsed for word in (value if isinstance(value, tuple) else (value,))]
    words += os.environ.get("COMP_WORDS", "").split()[2:]
    return [word for word in dict.fromkeys(map(str, words)) if os.path.isdir(os.path.expanduser(word))]


def _names(path: str) -> list[str]:
    # Only the keys are needed, and nothing is said of a manifest that cannot be read.
    try:
        with open(os.path.join(os.path.expanduser(path), MANIFEST), encoding="utf-8") as file:
            files = json.load(file)["files"]
        return [name for entry in files.values() for part in ("tensors", "tied") for name in entry.get(part, {})]
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return []
