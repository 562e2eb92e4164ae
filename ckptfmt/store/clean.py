"""Find and remove what writers that died have left beside their targets.

What a living writer uses is recognised by its lock, which it holds, and left alone: neither age nor a clock
plays a part. Only names that writers give are looked at, and only files that belong to checkpoints removed.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ckptfmt.errors import Locked, WriteError
from ckptfmt.format.files import MANIFEST, release
from ckptfmt.format.siblings import Beside, lock_name, owner_name, parse_beside
from ckptfmt.store.write.failure import reported
from ckptfmt.store.write.lock import hold, is_held, owner
from ckptfmt.store.write.place import mend

__all__ = ["Leftover", "clean", "leftovers"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that a writer put beside its target; `held_by` says which living one uses it, "" for none.

    `kind` is `stage` (an unfinished checkpoint or one that was replaced), `old` (one that was set aside while
    it was replaced; it comes back where its target is missing), `lock` or `owner` (a lock).
    """

    path: str
    kind: str
    bytes: int
    held_by: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the leftover with the keys of `report.schema.json`."""
        return {"path": self.path, "kind": self.kind, "bytes": self.bytes, "held_by": self.held_by}


def leftovers(path: str | os.PathLike[str], *, deep: bool = True) -> tuple[Leftover, ...]:
    """Return what writers have put into the folder at `path`, with `deep` also below it; change nothing."""
    where = os.fspath(path)
    with reported(where):
        if not os.path.isdir(where):
            raise WriteError("no such folder", where=where, fix="name the folder checkpoints lie in", code="clean.path")
        return tuple(_describe(folder, found) for folder, found in _search(where, deep))


def clean(path: str | os.PathLike[str], *, deep: bool = True) -> tuple[Leftover, ...]:
    """Remove what dead writers left at `path`, with `deep` also below it; return what `leftovers` returned.

    Entries with `held_by` are left alone. A predecessor whose successor never came is put back.
    """
    before = leftovers(path, deep=deep)
    for folder, stem in sorted({_key(entry.path) for entry in before if not entry.held_by}):
        # A writer that came in the meantime cleans up itself.
        with contextlib.suppress(Locked):
            _mend(folder, stem)
    return before


def _key(path: str) -> tuple[str, str]:
    folder, name = os.path.split(path)
    found = parse_beside(name)
    assert found is not None
    return folder, found.stem


def _mend(folder: str, stem: str) -> None:
    with reported(folder):
        descriptor = os.open(folder, _FOLDER)
        try:
            with hold(descriptor, stem, where=os.path.join(folder, stem)):
                mend(descriptor, stem)
        finally:
            release(descriptor)


def _search(top: str, deep: bool) -> Iterator[tuple[str, Beside]]:
    for folder, names, files in os.walk(top):
        for name in sorted([*names, *files]):
            if found := parse_beside(name):
                yield folder, found
        # Checkpoints hold no checkpoints.
        names[:] = [] if MANIFEST in files or not deep else sorted(name for name in names if not parse_beside(name))


def _describe(folder: str, found: Beside) -> Leftover:
    path = os.path.join(folder, found.name)
    descriptor = os.open(folder, _FOLDER)
    try:
        held_by = ""
        if is_held(descriptor, found.stem):
            by = owner(descriptor, lock_name(found.stem)) or owner(descriptor, owner_name(found.stem))
            held_by = str(by or "another process")
    finally:
        release(descriptor)
    return Leftover(path, found.kind, _bytes(path), held_by)


def _bytes(path: str) -> int:
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    with os.scandir(path) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
