"""What the shell offers for an argument: folders that hold a manifest, tensor names from it, and schemas.

A shell that inserts a word runs what is in it, and each shell quotes in its own way, some not at all. So a
name is offered only where every shell reads it as one plain word: others, written by strangers or by people
who like blanks, are left to be typed.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

import click

from ckptfmt.errors import CkptError
from ckptfmt.format.files import MANIFEST, open_file, open_folder, read_exactly, release
from ckptfmt.format.jsontext import parse
from ckptfmt.format.schemas import schema_names

__all__ = ["checkpoints", "schemas", "tensors"]

# A pressed key must not wait for a walk through a whole disk.
_MAX_DEPTH = 4
_MAX_ENTRIES = 20_000
# Whoever presses Tab waits for it; manifests of real networks take less than a tenth of this.
_MAX_MANIFEST = 4 << 20
# No blank, no quote, nothing that expands, and no comma, which parts the columns of an answer. A word does not begin
# as an option does, nor as what a shell expands at the start only.
_PLAIN = re.compile(r"(~/)?[\w./][\w./:@%+=-]*")


def checkpoints(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the checkpoints whose path starts with `incomplete`, those a few folders deeper among them."""
    folder, start = os.path.split(incomplete)
    budget = iter(range(_MAX_ENTRIES))
    found = _below(os.path.expanduser(folder) or ".", start, _MAX_DEPTH, budget)
    return _offered(os.path.join(folder, *parts) for parts in found)


def tensors(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the tensors in the checkpoints that were given so far."""
    names: set[str] = set()
    for path in _given(ctx):
        names.update(_names(path))
    return _offered(name for name in names if name.startswith(incomplete))


def schemas(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the schemas that come with this package."""
    return [name for name in schema_names() if name.startswith(incomplete)]


def _offered(words: Iterator[str]) -> list[str]:
    return sorted(word for word in words if _PLAIN.fullmatch(word))


def _below(folder: str, start: str, depth: int, budget: Iterator[int]) -> Iterator[tuple[str, ...]]:
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry, _ in zip(listing, budget, strict=False)]
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(start) or (not start and entry.name.startswith(".")) or not entry.is_dir():
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
        files = parse(_manifest(os.path.expanduser(path)), where=path, limit=_MAX_MANIFEST)["files"]
        named = [name for entry in files.values() for part in ("tensors", "tied") for name in entry.get(part, {})]
        return [name for name in named if isinstance(name, str)]
    except (CkptError, LookupError, AttributeError, TypeError):
        return []


def _manifest(path: str) -> bytes:
    folder = open_folder(path)
    try:
        file, size = open_file(folder, MANIFEST, where=path)
        try:
            return read_exactly(file, 0, min(size, _MAX_MANIFEST + 1), where=path)
        finally:
            release(file)
    finally:
        release(folder)
