"""The place where a checkpoint is written: the folder it lies in, its name there, and what is there now.

A place is held under the target's lock. What writers that died have left beside the target is recognised by
that lock being free, and mended or removed before anything else is done.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ckptfmt.errors import TargetExists, WriteError, printable
from ckptfmt.format.files import MANIFEST, PARTS, release
from ckptfmt.format.siblings import aside_name, parse_beside
from ckptfmt.store.write.lock import hold

__all__ = ["Occupant", "Place", "discard", "hold_place", "mend", "sync_folder"]

Occupant = Literal["nothing", "checkpoint"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OURS = (MANIFEST, *PARTS)
# What is left of 255 bytes when the longest name beside a target is made of it.
_LONGEST_NAME = 220


@dataclass(frozen=True, slots=True)
class Place:
    """A target under lock: `path` as it was given, its name in the folder that `folder` describes."""

    path: str
    folder: int
    name: str

    def occupant(self, *, overwrite: bool) -> Occupant:
        """Return what is at the target; raise `TargetExists` for what must not be replaced.

        A folder that holds anything but files of a checkpoint is never replaced: it would be removed with
        what it holds.
        """
        try:
            names = _names(self.folder, self.name)
        except FileNotFoundError:
            return "nothing"
        except NotADirectoryError:
            raise _taken(self.path, "is a file", "choose another folder") from None
        if not names:
            return "nothing"
        if not overwrite:
            fix = "add overwrite=True to replace it, or choose another folder"
            raise _taken(self.path, "exists and is not empty", fix)
        if foreign := sorted(set(names) - set(_OURS)):
            what = f"holds '{printable(foreign[0], 60)}', which is no part of a checkpoint and would be lost"
            raise _taken(self.path, what, "move it away, or choose another folder")
        return "checkpoint"


@contextlib.contextmanager
def hold_place(path: str | os.PathLike[str], *, wait: float = 0.0) -> Iterator[Place]:
    """Hold the target's place under its lock, its parent folders made, what dead writers left there mended.

    Parents that were made are removed again where the block raises.
    """
    given = os.fspath(path)
    real = os.path.realpath(given)
    parent, name = os.path.split(real)
    if not name:
        raise TargetExists("is the root folder", where=given, fix="choose another folder")
    if len(os.fsencode(name)) > _LONGEST_NAME:
        what = f"the name is longer than {_LONGEST_NAME} bytes"
        raise WriteError(what, where=given, fix="choose a shorter one", code="write.name")
    made = _make_parents(parent)
    try:
        folder = os.open(parent, _FOLDER)
        try:
            place = Place(given, folder, name)
            with hold(folder, place.name, where=given, wait=wait):
                mend(folder, place.name)
                yield place
        finally:
            release(folder)
    except BaseException:
        for folder_made in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(folder_made)
        raise


def discard(folder: int, name: str) -> None:
    """Remove a leftover: a file, or a folder as far as it holds files of a checkpoint and nothing else.

    The manifest goes first, so that nobody takes the rest for a checkpoint. What cannot be removed stays.
    """
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            return
        inside = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        try:
            for file in _OURS:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file, dir_fd=inside)
        finally:
            release(inside)
        os.rmdir(name, dir_fd=folder)


def sync_folder(folder: int) -> None:
    """Flush the names in a folder to the disk; filesystems that keep no such promise refuse with EINVAL."""
    try:
        os.fsync(folder)
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise


def mend(folder: int, stem: str) -> None:
    """Finish or undo what a writer of the target called `stem` began and left, now that its lock is ours."""
    left = [found for name in os.listdir(folder) if (found := parse_beside(name)) and found.stem == stem]
    left = [found for found in left if found.kind in ("old", "stage")]
    if not left:
        return
    if any(found.kind == "old" for found in left):
        # Succeeds only where the target is missing or empty: the predecessor comes back.
        with contextlib.suppress(OSError):
            os.rename(aside_name(stem), stem, src_dir_fd=folder, dst_dir_fd=folder)
    # The dead writer's own renames must last before what they replaced is removed.
    sync_folder(folder)
    for found in left:
        discard(folder, found.name)


def _names(folder: int, name: str) -> list[str]:
    inside = os.open(name, _FOLDER, dir_fd=folder)
    try:
        return os.listdir(inside)
    finally:
        release(inside)


def _make_parents(parent: str) -> list[str]:
    """Make the folders that are missing on the way to `parent`, each flushed; return them."""
    missing = []
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    made = []
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
            made.append(folder)
        above = os.open(os.path.dirname(folder), _FOLDER)
        try:
            sync_folder(above)
        finally:
            release(above)
    return made


def _taken(path: str, what: str, fix: str) -> WriteError:
    return TargetExists(what, where=path, fix=fix)
