"""Finish or undo what a writer that died began beside its target, as far as it is proven to be a writer's."""

import os
from collections.abc import Sequence
from typing import Literal

from ckptfmt.format.files import is_there
from ckptfmt.format.record import record
from ckptfmt.format.writernames import WriterName, aside_name, parse_writer_name
from ckptfmt.store.write.held import Held, hold_open
from ckptfmt.store.write.linux import sync_folder
from ckptfmt.store.write.proof import read_whole, unknown_leftover

__all__ = ["Mended", "mend", "set_aside"]

_UNREADABLE = "may not be looked at"


@record
class Mended:
    """What became of a leftover; `why` says why one is still there."""

    name: str
    done: Literal["removed", "restored", "kept"]
    why: str = ""


def mend(folder: int, stem: str, left: Sequence[WriterName] | None = None) -> list[Mended]:
    """Put right what lies beside the target called `stem`, whose lock is ours, and return what became of each.

    `left` are the leftovers where they are known already. A predecessor that was set aside comes back where its
    target is missing or empty, and goes where its successor is whole. What is not proven to be a writer's stays.
    """
    if left is None:
        left = [found for name in os.listdir(folder) if (found := parse_writer_name(name)) and found.stem == stem]
    old = [found.name for found in left if found.kind == "old"]
    stages = [found.name for found in left if found.kind == "stage"]
    done = [_mend_old(folder, stem, name) for name in old]
    if stages and is_there(folder, stem):
        # The dead writer's own renames must last before what they replaced is removed.
        sync_folder(folder)
    return done + [_mend_stage(folder, stem, name) for name in stages]


def set_aside(folder: int, stem: str) -> list[WriterName]:
    """Return what may lie beside a target whose writers all ended well: a predecessor, under the one name it can have.

    Where a lock lay, the folder is listed for the rest; to list it each time would make a batch into it quadratic.
    """
    name = aside_name(stem)
    return [WriterName(name, stem, "old")] if is_there(folder, name) else []


def _mend_stage(folder: int, stem: str, name: str) -> Mended:
    try:
        with hold_open(folder, name) as held:
            if held is None:
                return Mended(name, "removed")
            why = unknown_leftover(held, stem)
            return Mended(name, "kept", why) if why else _removed(held)
    except PermissionError:
        return Mended(name, "kept", _UNREADABLE)


def _mend_old(folder: int, stem: str, name: str) -> Mended:
    try:
        with hold_open(folder, name) as held, hold_open(folder, stem) as there:
            if held is None:
                return Mended(name, "removed")
            if why := unknown_leftover(held, stem) or ("" if held.is_folder else "is a file"):
                return Mended(name, "kept", why)
            if there is None or (there.is_folder and not os.listdir(there.file)):
                return _put_back(held, stem, there)
            if there.is_folder and read_whole(there.file, stem) is not None:
                sync_folder(folder)
                return _removed(held)
            return Mended(name, "kept", "is the only copy, its successor is no whole checkpoint")
    except PermissionError:
        return Mended(name, "kept", _UNREADABLE)


def _put_back(held: Held, stem: str, empty: Held | None) -> Mended:
    if empty is not None and empty.is_at(stem):
        os.rmdir(stem, dir_fd=held.folder)
    if not held.move(stem):
        return Mended(held.name, "kept", "changed while it was looked at")
    sync_folder(held.folder)
    return Mended(held.name, "restored")


def _removed(held: Held) -> Mended:
    return Mended(held.name, "removed") if held.remove() else Mended(held.name, "kept", "cannot be removed")
