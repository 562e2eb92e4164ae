"""Unpack an archive: every byte of a run, or of one checkpoint of it, as it was."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from ckptfmt.errors import TargetExists
from ckptfmt.format.record import record
from ckptfmt.share.pack.archive import Archive
from ckptfmt.share.pack.index import PackedFile
from ckptfmt.store.write.datafile import create, write_all
from ckptfmt.store.write.failure import reported, require_space
from ckptfmt.store.write.linux import sync_folder
from ckptfmt.store.write.place import split_target

__all__ = ["Unpacked", "check", "unpack"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TAKEN = "exists and is not empty"


@record
class Unpacked:
    """What was taken out of an archive, and where it is now; `dest` is "" where it was only looked at."""

    path: str
    dest: str
    run: str
    files: tuple[PackedFile, ...]

    @property
    def bytes(self) -> int:
        """Return how many bytes the files take."""
        return sum(file.bytes for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer with the keys of `report.schema.json`."""
        files = [{"path": file.path, "bytes": file.bytes, "blake3": file.blake3} for file in self.files]
        return {"path": self.path, "dest": self.dest or None, "run": self.run, "files": files, "bytes": self.bytes}


def check(path: str | os.PathLike[str]) -> Unpacked:
    """Read all of an archive and hold every file against its digest; raise `BadArchive` where one is damaged."""
    with Archive(path) as archive:
        archive.check_whole()
        for file in archive.index.files:
            # Whoever reads a file to its end has held it against its digest.
            for _ in archive.read(file):
                pass
        return Unpacked(archive.path, "", archive.index.run, archive.index.files)


def unpack(path: str | os.PathLike[str], dest: str | os.PathLike[str], *, only: Sequence[str] = ()) -> Unpacked:
    """Write the files of an archive below the new folder `dest`, whole or not at all; return what they are.

    With `only`, the files and folders named, read without the others. Without it every byte of the archive is
    checked first. Raises `BadArchive` for a damaged one, `TargetExists` where `dest` holds anything.
    """
    where = os.fspath(dest)
    with Archive(path) as archive, reported(where):
        files = tuple(dict.fromkeys(file for name in only for file in archive.find(name)))
        folders: tuple[str, ...] = ()
        if not only:
            archive.check_whole()
            files, folders = archive.index.files, archive.index.folders
        _write(archive, files, folders, where)
        return Unpacked(archive.path, where, archive.index.run, files)


def _write(archive: Archive, files: Sequence[PackedFile], folders: Sequence[str], where: str) -> None:
    above, name = split_target(where)
    if os.path.lexists(where) and (not os.path.isdir(where) or os.listdir(where)):
        raise TargetExists(_TAKEN, where=where, fix="choose another folder")
    parent = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    # Beside the target, since a rename does not leave its filesystem; of a name that no other unpacking has.
    staged = os.path.join(above, f".{name}.unpacking-{os.urandom(8).hex()}")
    tree = _Tree(staged)
    try:
        require_space(parent, sum(file.bytes for file in files), where=where)
        os.mkdir(staged)
        for folder in folders:
            tree.folder(folder)
        for file in files:
            tree.file(archive, file)
        tree.flush()
        try:
            # An empty folder is replaced by it; one into which somebody wrote meanwhile is not.
            os.rename(staged, os.path.join(above, name))
        except (FileExistsError, NotADirectoryError):
            raise TargetExists(_TAKEN, where=where, fix="choose another folder") from None
        sync_folder(parent)
    except BaseException:
        tree.remove()
        raise
    finally:
        os.close(parent)


class _Tree:
    """The folder that is being made, and what was made in it: that much is removed if it cannot be finished."""

    def __init__(self, top: str) -> None:
        self._top = top
        self._folders = {"": top}
        self._files: list[str] = []

    def folder(self, path: str) -> str:
        """Return where a folder of the run is, made with those above it."""
        place = self._top
        for end in (index for index, char in enumerate(f"{path}/") if char == "/"):
            place = os.path.join(self._top, path[:end])
            if path and path[:end] not in self._folders:
                os.mkdir(place)
                self._folders[path[:end]] = place
        return place if path else self._top

    def file(self, archive: Archive, file: PackedFile) -> None:
        """Write a file, flushed."""
        above, _, name = file.path.rpartition("/")
        place = self.folder(above)
        folder = os.open(place, _FOLDER)
        try:
            descriptor = create(folder, name)
        finally:
            os.close(folder)
        self._files.append(os.path.join(place, name))
        try:
            for data in archive.read(file):
                write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def flush(self) -> None:
        """Make the names last."""
        # Files were flushed as they were written; their names are in the folders, the innermost first.
        for place in reversed(self._folders.values()):
            folder = os.open(place, _FOLDER)
            try:
                sync_folder(folder)
            finally:
                os.close(folder)

    def remove(self) -> None:
        """Remove what was made, and nothing else."""
        for place in self._files:
            with contextlib.suppress(OSError):
                os.unlink(place)
        for place in reversed(self._folders.values()):
            with contextlib.suppress(OSError):
                os.rmdir(place)
