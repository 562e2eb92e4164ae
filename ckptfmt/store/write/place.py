"""The place where a checkpoint is written: the folder it lies in, its name there, and what is there now.

A place is held under the target's lock. What writers that died have left beside the target is recognised by
that lock being free, and mended or removed before anything else is done.
"""

import contextlib
import os
import stat
from collections.abc import Iterator

from ckptfmt.errors import NotACheckpoint, TargetExists, WriteError, printable
from ckptfmt.format.far import in_a_store
from ckptfmt.format.files import release
from ckptfmt.format.record import record
from ckptfmt.format.writernames import parse_writer_name
from ckptfmt.remote.url import as_path, is_url
from ckptfmt.store.write.held import Held, hold_open, kind_of
from ckptfmt.store.write.linux import sync_folder
from ckptfmt.store.write.lock import hold
from ckptfmt.store.write.mend import mend, set_aside
from ckptfmt.store.write.proof import unknown_content

__all__ = ["WRITERS_OWN", "Place", "hold_place", "split_target"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# What is left of 255 bytes when the longest name beside a target is made of it.
_LONGEST_NAME = 220
WRITERS_OWN = "the name is one that writers give what they leave, which the next save would remove"


@record
class Place:
    """A target under lock: `path` as it was given, its name in the folder that `folder` describes."""

    path: str
    folder: int
    name: str

    @contextlib.contextmanager
    def occupant(self, *, overwrite: bool) -> Iterator[Held | None]:
        """Hold the checkpoint at the target while the block runs; None where nothing is there, or an empty folder.

        Raises `TargetExists` for what must not be replaced: without `overwrite` whatever holds anything, with it
        everything but a folder with files of a checkpoint, since it would be removed with what it holds. A link
        is not followed: what it names lies elsewhere, and may be somebody else's.
        """
        with hold_open(self.folder, self.name) as there:
            if there is not None and not there.is_folder:
                raise self._taken_by(there)
            if there is None or not os.listdir(there.file):
                yield None
                return
            if not overwrite:
                fix = "add overwrite=True to replace it, or choose another folder"
                raise _taken(self.path, "exists and is not empty", fix)
            if why := unknown_content(there):
                raise _taken(self.path, f"{why} and would be lost", "move it away, or choose another folder")
            yield there

    @contextlib.contextmanager
    def checkpoint(self) -> Iterator[Held]:
        """Hold the folder at the target while the block runs; raise `TargetExists` for a link or a file.

        Raises `NotACheckpoint` where nothing is there.
        """
        with hold_open(self.folder, self.name) as there:
            if there is None:
                raise NotACheckpoint("no such folder", where=self.path, fix="check the path", code="layout.missing")
            if not there.is_folder:
                raise self._taken_by(there)
            yield there

    def _taken_by(self, there: Held) -> TargetExists:
        if not stat.S_ISLNK(there.state.st_mode):
            return _taken(self.path, f"is {kind_of(there.state.st_mode)}", "choose another folder")
        try:
            target = os.readlink(self.name, dir_fd=self.folder)
        except OSError:
            target = "nothing"
        what = f"is a link to '{printable(target, 120)}', which is not written through it"
        return _taken(self.path, what, "name the folder itself, or remove the link")


@contextlib.contextmanager
def hold_place(path: str | os.PathLike[str], *, wait: float = 0.0) -> Iterator[Place]:
    """Hold the target's place under its lock, its parent folders made, what dead writers left there mended.

    Links on the way to the target are followed, one at its end is not. Parents that were made are removed again
    where the block raises.
    """
    if is_url(path):
        raise in_a_store(os.fspath(path))
    given = as_path(path)
    parent, name = split_target(given)
    made = _make_parents(parent)
    try:
        folder = os.open(parent, _FOLDER)
        try:
            place = Place(given, folder, name)
            with hold(folder, place.name, where=given, wait=wait) as somebody_died:
                mend(folder, place.name, None if somebody_died else set_aside(folder, place.name))
                yield place
        finally:
            release(folder)
    except BaseException:
        for folder_made in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(folder_made)
        raise


def split_target(path: str) -> tuple[str, str]:
    """Return the real folder that a target lies in, and its name there.

    Raises `TargetExists` for the current folder and the root, `WriteError` for a name that no target may have.
    """
    parent, name = _split(path)
    if not path or os.path.join(parent, name) == _current():
        what = "is the current folder, and this process would be left in one that is gone"
        raise TargetExists(what, where=path or ".", fix="change to another folder first")
    if not name:
        raise TargetExists("is the root folder", where=path, fix="choose another folder")
    if len(os.fsencode(name)) > _LONGEST_NAME:
        what = f"the name is longer than {_LONGEST_NAME} bytes"
        raise WriteError(what, where=path, fix="choose a shorter one", code="write.name")
    if parse_writer_name(name):
        raise WriteError(WRITERS_OWN, where=path, fix="choose another one", code="write.name")
    return parent, name


def _current() -> str:
    """Return the current folder, "" where it was removed: no target is that one."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _split(path: str) -> tuple[str, str]:
    """Return the real folder that a path lies in, and its name there."""
    if "\0" in path:
        raise _no_name(path, "holds a zero byte")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise _no_name(path, "holds half of a surrogate pair") from None
    parent, name = os.path.split(path.rstrip("/") or "/")
    if name in ("", ".", ".."):
        return os.path.split(os.path.realpath(path))
    return os.path.realpath(parent or "."), name


def _make_parents(parent: str) -> list[str]:
    """Make the folders that are missing on the way to `parent`, each flushed; return them."""
    missing = []
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    made = []
    for folder in reversed(missing):
        # Another writer may have made it meanwhile; then it is not ours to remove.
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
            made.append(folder)
        # A folder whose name is not on the disk takes what lies in it along.
        above = os.open(os.path.dirname(folder), _FOLDER)
        try:
            sync_folder(above)
        finally:
            release(above)
    return made


def _no_name(path: str, why: str) -> WriteError:
    return WriteError(f"the name {why}", where=path, fix="choose another one", code="write.name")


def _taken(path: str, what: str, fix: str) -> TargetExists:
    return TargetExists(what, where=path, fix=fix)
