"""Find and remove what writers that died have left beside their targets.

What a living writer uses is recognised by its lock, which it holds, and left alone: neither age nor a clock
plays a part. Only names that writers give are looked at, and only what is proven to be a writer's is removed.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from ckptfmt.errors import CkptError, WriteError
from ckptfmt.format.files import MANIFEST, is_there, release
from ckptfmt.format.record import record
from ckptfmt.format.writernames import WriterName, parse_writer_name
from ckptfmt.remote.url import is_url
from ckptfmt.store.write.failure import reported
from ckptfmt.store.write.held import Held, hold_open
from ckptfmt.store.write.lock import hold, holder, remove_dead_owner
from ckptfmt.store.write.mend import mend
from ckptfmt.store.write.proof import unknown_leftover

__all__ = ["Leftover", "clean", "leftovers"]

State = Literal["left", "removed", "restored", "kept"]


@record
class Leftover:
    """Something that a writer put beside its target; `held_by` says which living one uses it, "" for none.

    `kind` is `stage` (an unfinished checkpoint or one that was replaced), `old` (one that was set aside while
    it was replaced; it comes back where its target is missing), `lock` or `owner` (a lock). `state` is `left`
    until it is `removed` or `restored`; one that is `kept` is not touched, for the reason `why`.
    """

    path: str
    kind: str
    bytes: int
    held_by: str = ""
    state: State = "left"
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the leftover with the keys of `report.schema.json`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def leftovers(path: str | os.PathLike[str], *, deep: bool = True) -> tuple[Leftover, ...]:
    """Return what writers have put into the folder at `path`, with `deep` also below it; change nothing."""
    return tuple(left for group in _groups(os.fspath(path), deep) for left in group.described())


def clean(path: str | os.PathLike[str], *, deep: bool = True) -> tuple[Leftover, ...]:
    """Remove what interrupted saves left at `path`, with `deep` also below it; return what was found and done.

    What has `held_by` or is not proven to be a writer's is left alone. A predecessor whose successor never came
    is put back.
    """
    return tuple(left for group in _groups(os.fspath(path), deep) for left in group.cleaned())


@record
class _Group:
    """What lies beside one target, in the folder that `folder` describes."""

    where: str
    folder: int
    stem: str
    found: tuple[WriterName, ...]

    def described(self) -> tuple[Leftover, ...]:
        """Return the leftovers as they are."""
        try:
            held_by = holder(self.folder, self.stem)
            why = ""
        except OSError as e:
            held_by, why = "", _reason(e)
        return tuple(self._describe(found, held_by, why) for found in self.found)

    def cleaned(self) -> tuple[Leftover, ...]:
        """Remove what is dead and proven, and return the leftovers as they were, with what became of them."""
        before = self.described()
        if all(left.state == "kept" or left.held_by for left in before):
            return before
        try:
            with hold(self.folder, self.stem, where=self.where):
                mended = {one.name: one for one in mend(self.folder, self.stem, self.found)}
                # While the lock is held: a writer that comes now waits for it.
                remove_dead_owner(self.folder, self.stem)
        except OSError as e:
            return tuple(replace(left, state="kept", why=left.why or _reason(e)) for left in before)
        return tuple(
            replace(left, state=mended[found.name].done, why=mended[found.name].why)
            if found.name in mended
            else self._after(left, found)
            for left, found in zip(before, self.found, strict=True)
        )

    def _describe(self, found: WriterName, held_by: str, why: str) -> Leftover:
        path = os.path.join(self.where, found.name)
        try:
            with hold_open(self.folder, found.name) as held:
                size = _bytes(held) if held else 0
                # A lock holds nothing that could be lost, so what it is need not be proven to leave it alone.
                if held and not why and not held_by and found.kind in ("stage", "old"):
                    why = unknown_leftover(held, self.stem)
        except OSError as e:
            size, why = 0, why or _reason(e)
        return Leftover(path, found.kind, size, held_by, "kept" if why else "left", why)

    def _after(self, left: Leftover, found: WriterName) -> Leftover:
        """Return what became of a lock, which went with the cleaning."""
        if is_there(self.folder, found.name):
            return replace(left, state="kept", why=left.why or "is in use again")
        return replace(left, state="removed")


def _groups(where: str, deep: bool) -> Iterator[_Group]:
    if is_url(where):
        raise CkptError(
            "is in a store, where no lock tells whether the writer of an unfinished upload lives",
            where=where,
            fix="upload there again with overwrite=True, which takes it over",
            code="remote.not-here",
        )
    with reported(where):
        try:
            top = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as e:
            what = "no such folder" if isinstance(e, FileNotFoundError) else "is a file, not a folder"
            fix = "give the folder that holds the checkpoints"
            raise WriteError(what, where=where, fix=fix, code="clean.path") from None
        try:
            # No link is followed on the way down, and each folder is held while it is looked at.
            for root, names, files, folder in os.fwalk(".", dir_fd=top):
                yield from _group(os.path.join(where, root[2:]), folder, [*names, *files])
                # Checkpoints hold no checkpoints.
                names[:] = [] if MANIFEST in files or not deep else sorted(n for n in names if not parse_writer_name(n))
        finally:
            release(top)


def _group(where: str, folder: int, names: list[str]) -> Iterator[_Group]:
    groups: dict[str, list[WriterName]] = {}
    for name in sorted(names):
        if found := parse_writer_name(name):
            groups.setdefault(found.stem, []).append(found)
    return (_Group(where, folder, stem, tuple(found)) for stem, found in groups.items())


def _reason(e: OSError) -> str:
    return e.what if isinstance(e, WriteError) else f"cannot be looked at: {e.strerror}"


def _bytes(held: Held) -> int:
    if not held.is_folder:
        return held.state.st_size
    with os.scandir(held.file) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
