"""Pack a run: every file of it into one, whole or not at all."""

import contextlib
import os
from typing import Any

from ckptfmt.errors import TargetExists, WriteError
from ckptfmt.format.files import open_near, release
from ckptfmt.format.record import record
from ckptfmt.share.pack.cutting import walk
from ckptfmt.share.pack.index import BadArchive
from ckptfmt.share.pack.unpack import check
from ckptfmt.share.pack.writer import Writer
from ckptfmt.store.write.datafile import create
from ckptfmt.store.write.failure import reported
from ckptfmt.store.write.linux import sync_folder

__all__ = ["Packed", "pack"]


@record
class Packed:
    """What went into an archive; `left` are links, devices and leftovers of writers, which did not.

    `damaged` are files that went in as they are, and are not what the manifest of their checkpoint says.
    """

    run: str
    path: str
    checkpoints: int
    files: int
    bytes: int
    stored: int
    left: tuple[str, ...]
    damaged: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the answer with the keys of `report.schema.json`."""
        return {
            name: list(value) if isinstance(value := getattr(self, name), tuple) else value
            for name in self.__dataclass_fields__
        }


def pack(
    run: str | os.PathLike[str], path: str | os.PathLike[str], *, level: int = 3, overwrite: bool = False
) -> Packed:
    """Put every file below the folder `run` into the new file `path`, and return what went in.

    Checkpoints are stored as what changed since their parents, where that takes less; nothing else depends on it.
    The archive is read back, every file of it, before it gets its name. Raises `TargetExists` for a file that is
    there, unless `overwrite`, and `WriteError` where a file or a checkpoint was changed or replaced meanwhile; nothing
    is left then. Nor can an archive lie in the run that it holds.
    """
    where, source = os.fspath(path), os.fspath(run)
    release(open_near(source))
    folder, name = os.path.split(os.path.abspath(where))
    # What grows while it is packed is never packed.
    if _is_below(folder, source):
        fix = "choose a place outside of that folder"
        raise WriteError(f"lies in {source}, which it is to hold", where=where, fix=fix, code="pack.inside")
    if os.path.lexists(where) and not overwrite:
        raise TargetExists("exists", where=where, fix="add overwrite=True to replace it, or choose another name")
    with reported(where):
        parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        staged = f".{name}.packing-{os.urandom(8).hex()}"
        try:
            writer = Writer(create(parent, staged), level)
            done = _write(writer, source, where)
            _read_back(os.path.join(folder, staged), where)
            _publish(parent, staged, name, where, overwrite=overwrite)
        finally:
            _discard(parent, staged)
            release(parent)
    return done


def _is_below(folder: str, source: str) -> bool:
    inner, outer = os.path.realpath(folder), os.path.realpath(source)
    return os.path.commonpath([inner, outer]) == outer


def _write(writer: Writer, source: str, where: str) -> Packed:
    folders, left, checkpoints = [], [], 0
    try:
        for folder in walk(source):
            folders.append(folder.path)
            left += [os.path.join(folder.path, name) for name in folder.left]
            checkpoints += writer.add_folder(folder)
        run = os.path.basename(os.path.realpath(source)) or "run"
        stored = writer.finish(run, tuple(filter(None, folders)))
    except BaseException:
        release(writer.file)
        raise
    os.close(writer.file)
    size = sum(file.bytes for file in writer.files)
    return Packed(source, where, checkpoints, len(writer.files), size, stored, tuple(left), tuple(writer.damaged))


def _read_back(staged: str, where: str) -> None:
    try:
        check(staged)
    except BadArchive as e:
        what = f"what was read back is not what was packed: {e.what}"
        fix = "pack it while nothing writes to the run; if nothing did, check the disk"
        raise WriteError(what, where=where, fix=fix, code="write.read-back") from None


def _publish(parent: int, staged: str, name: str, where: str, *, overwrite: bool) -> None:
    """Give the archive its name, durably; what came there in the meantime is not replaced unasked."""
    if overwrite:
        os.replace(staged, name, src_dir_fd=parent, dst_dir_fd=parent)
    else:
        try:
            os.link(staged, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            raise TargetExists(
                "was created by another program while this was written", where=where, fix="choose another name"
            ) from None
        except OSError:
            # No second names here: a rename would replace silently what comes between the look and it.
            if os.path.lexists(where):
                raise TargetExists("exists", where=where, fix="choose another name") from None
            os.rename(staged, name, src_dir_fd=parent, dst_dir_fd=parent)
    sync_folder(parent)


def _discard(parent: int, staged: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(staged, dir_fd=parent)
