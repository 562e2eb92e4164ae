"""The names a writer uses beside its target: its lock, its staging, a predecessor set aside.

For a target `best` they are `.best.ckpt-lock`, `.best.ckpt-stage-0123456789abcdef` and `.best.ckpt-old`. They
begin with a dot, so that listings and globs pass over them, and they end in what no person types by chance.
Only names of this form are ever removed, and only where what they name is proven to be a writer's.
"""

import os
import re

from ckptfmt.format.record import record

__all__ = ["WriterName", "aside_name", "lock_name", "owner_name", "parse_writer_name", "stage_name"]

_FORM = re.compile(r"\.(?P<stem>.+)\.ckpt-(?P<kind>lock|owner|old|stage(?=-))(?:(?<=stage)-[0-9a-f]{16})?", re.DOTALL)


@record
class WriterName:
    """A name beside a target: `kind` is lock, owner, old or stage; `stem` is the name of the target."""

    name: str
    stem: str
    kind: str


def lock_name(stem: str) -> str:
    """Return the name of the lock of a target."""
    return f".{stem}.ckpt-lock"


def owner_name(stem: str) -> str:
    """Return the name of the file that is the lock by its existence, where files cannot be locked."""
    return f".{stem}.ckpt-owner"


def aside_name(stem: str) -> str:
    """Return the name under which a predecessor waits where two folders cannot change places in one step."""
    return f".{stem}.ckpt-old"


def stage_name(stem: str) -> str:
    """Return a fresh name for staging, which no other writer has."""
    # Not from `random`, which a training seeds: two writers would draw the same name.
    return f".{stem}.ckpt-stage-{os.urandom(8).hex()}"


def parse_writer_name(name: str) -> WriterName | None:
    """Return what a name beside some target stands for; None for a name that no writer gives."""
    found = _FORM.fullmatch(name)
    return WriterName(name, found["stem"], found["kind"]) if found else None
