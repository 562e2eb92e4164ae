"""Which files make a checkpoint, and how they are opened without leaving its folder.

Everything is opened relative to a descriptor of the folder: a checkpoint that is replaced while it is read
stays the old one, whole, for that reader. Devices and pipes are refused before a byte is read, since a pipe in
place of a manifest would wait for ever, and so are links, which may point at another person's file, but for those
into a cache of downloads. Where the path is the URL of a store, folder and files are objects that read there, and all
that reads checkpoints is the same.
"""

import contextlib
import errno
import os
import stat
from fnmatch import fnmatchcase
from typing import TypeAlias, overload

from ckptfmt.errors import CkptError, ManifestError, MissingFile, NotACheckpoint, Unreadable, WeightsError, WrongSize
from ckptfmt.format.far import far_manifest, in_a_store, must_be_there
from ckptfmt.format.travelled import open_link
from ckptfmt.format.writernames import aside_name
from ckptfmt.remote.far import open_far
from ckptfmt.remote.folder import FarFile, FarFolder
from ckptfmt.remote.url import as_path, is_url

__all__ = [
    "HUB_WEIGHTS",
    "MANIFEST",
    "MAX_MANIFEST",
    "MAX_SIGNATURE",
    "REPLAY",
    "SAFETENSORS",
    "SIGNATURE",
    "STATE",
    "WEIGHTS",
    "OpenFile",
    "OpenFolder",
    "compressed_name",
    "is_companion",
    "is_there",
    "open_file",
    "open_folder",
    "open_near",
    "open_single",
    "read_exactly",
    "read_into",
    "read_manifest",
    "release",
]

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
STATE = "state.safetensors"
REPLAY = "replay.safetensors"
SAFETENSORS = (WEIGHTS, STATE, REPLAY)
# A folder of the Hugging Face hub calls the weights by the name that every loader there looks for.
HUB_WEIGHTS = "model.safetensors"
_STAND_INS = {WEIGHTS: HUB_WEIGHTS}
_COMPRESSED = ".zst"
# The bundle of the OpenSSF's model signing that vouches for a checkpoint, beside its own files.
SIGNATURE = "model.sig"
# A line of 200 characters for each of a few files, in base64 within base64; a hub folder has some dozens.
MAX_SIGNATURE = 4 << 20
# Of as many tensors as there may be, at half a kilobyte each. Every reader goes over the whole of it several times.
MAX_MANIFEST = 16 << 20
# What other tools put beside the files of a checkpoint and nobody mistakes for one of them: cards, signatures, films,
# and what git, the hub's client and macOS leave behind.
_COMPANIONS = (
    "README.md", "config.json", "model.sig", "*.mp4", "*.png", ".git", ".gitattributes", ".gitignore", ".DS_Store",
)  # fmt: skip
_COMPANION_FOLDERS = (".git", ".cache")

# A descriptor, or what stands for one in a store.
OpenFolder: TypeAlias = int | FarFolder
OpenFile: TypeAlias = int | FarFile

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Nonblocking: a pipe that somebody put there is opened at once, and then refused by its kind.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def compressed_name(name: str) -> str:
    """Return the name of a data file in its compressed form."""
    return name + _COMPRESSED


def is_companion(name: str, *, folder: bool = False) -> bool:
    """Return whether a file, or a `folder`, of this name may lie beside the files of a checkpoint."""
    return any(fnmatchcase(name, pattern) for pattern in (_COMPANION_FOLDERS if folder else _COMPANIONS))


def is_there(folder: OpenFolder, name: str) -> bool:
    """Return whether the folder holds anything called `name`, of whatever kind."""
    if isinstance(folder, FarFolder):
        return folder.size(name) is not None
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def open_folder(path: str | os.PathLike[str]) -> OpenFolder:
    """Return a descriptor of the folder at `path`, or the one at a URL; raise `NotACheckpoint` where there is none.

    In a store that shows when it is read. `open_near` is for who needs a descriptor.
    """
    return open_far(os.fspath(path)) if is_url(path) else open_near(path)


def open_near(path: str | os.PathLike[str]) -> int:
    """Return a descriptor of the folder at `path`; raise `NotACheckpoint` where there is none.

    Where it is missing, a writer may be about to replace it on a filesystem that cannot swap two folders: the
    predecessor waits beside it then, or the successor has come by now.
    """
    if is_url(path):
        raise in_a_store(os.fspath(path))
    where = as_path(path)
    try:
        return _open_or_aside(where)
    except FileNotFoundError:
        raise NotACheckpoint("no such folder", where=where, fix="check the path", code="layout.missing") from None
    except NotADirectoryError:
        raise NotACheckpoint(
            "is a file, not a checkpoint folder",
            where=where,
            fix="make a checkpoint of it with: ckptfmt.convert(PATH, OUT)",
            code="layout.not-a-folder",
        ) from None
    except (OSError, ValueError) as e:
        raise NotACheckpoint(f"cannot be opened: {_reason(e)}", where=where, code="layout.unreadable") from None


def _open_or_aside(path: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, _FOLDER_FLAGS)
    # A link or a file of that name was set aside by no writer.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.open(_aside(path), _FOLDER_FLAGS | os.O_NOFOLLOW)
    return os.open(path, _FOLDER_FLAGS)


def _aside(path: str) -> str:
    parent, name = os.path.split(os.path.abspath(path))
    return os.path.join(parent, aside_name(name))


def open_single(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (descriptor, bytes) of the regular file at `path`; raises as `open_near` and `open_file`."""
    parent, name = os.path.split(os.path.abspath(path))
    folder = open_near(parent)
    try:
        return open_file(folder, name, where=parent)
    finally:
        release(folder)


@overload
def open_file(folder: int, name: str, *, where: str) -> tuple[int, int]: ...
@overload
def open_file(folder: OpenFolder, name: str, *, where: str) -> tuple[OpenFile, int]: ...


def open_file(folder: OpenFolder, name: str, *, where: str) -> tuple[OpenFile, int]:
    """Return (descriptor, bytes) of a regular file in the folder; raise `WeightsError` for anything else.

    Where the process has too many files open it is a `CkptError`, which says nothing of the file.
    `model.safetensors` stands for `weights.safetensors` where that is not there.
    """
    if isinstance(folder, FarFolder):
        called = folder.called(name, _STAND_INS.get(name, name))
        with must_be_there(os.path.join(where, name)):
            return (far := folder.open(called)), far.size
    return _open_near_file(folder, name, where)


def _open_near_file(folder: int, name: str, where: str) -> tuple[int, int]:
    place = os.path.join(where, name)
    try:
        file = os.open(name, _FILE_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        if name in _STAND_INS and is_there(folder, _STAND_INS[name]):
            return _open_near_file(folder, _STAND_INS[name], where)
        raise MissingFile("is missing", where=place, fix="copy the checkpoint again") from None
    except OSError as e:
        linked = open_link(folder, name, MANIFEST) if e.errno == errno.ELOOP else None
        if linked is not None:
            return linked, os.fstat(linked).st_size
        if e.errno == errno.ELOOP:
            raise _a_link(place) from None
        # A socket, or a device that nothing drives.
        if e.errno in (errno.ENXIO, errno.ENODEV):
            raise _not_regular(_reason(e), place) from None
        # No fault of the file, so that nobody takes it for damaged.
        if e.errno in (errno.EMFILE, errno.ENFILE):
            fix = "raise the limit of open files (ulimit -n)"
            raise CkptError(f"cannot be opened: {_reason(e)}", where=place, fix=fix, code=Unreadable.code) from None
        raise Unreadable(f"cannot be opened: {_reason(e)}", where=place) from None
    try:
        info = os.fstat(file)
    except OSError as e:
        release(file)
        raise Unreadable(f"cannot be read: {_reason(e)}", where=place) from None
    if not stat.S_ISREG(info.st_mode):
        release(file)
        raise _not_regular("it is a device, pipe or folder", place)
    return file, info.st_size


def release(file: OpenFolder | OpenFile) -> None:
    """Close a descriptor through which nothing was written: its close can lose nothing, so no error matters."""
    if not isinstance(file, int):
        file.close()
        return
    with contextlib.suppress(OSError):
        os.close(file)


def read_exactly(file: OpenFile, offset: int, size: int, *, where: str) -> bytes:
    """Return `size` bytes from `offset`; raise `WeightsError` where the file ends before."""
    if not isinstance(file, int):
        with must_be_there(where):
            data = file.read(offset, size)
        if len(data) < size:
            raise _cut_short(where)
        return data
    parts = []
    while size > 0:
        try:
            # Linux gives at most 2 GiB less a page at once, and macOS refuses to be asked for more.
            part = os.pread(file, min(size, 1 << 30), offset)
        except OSError as e:
            raise _unreadable(e, where) from None
        if not part:
            raise _cut_short(where)
        parts.append(part)
        offset += len(part)
        size -= len(part)
    # To join one part would copy it.
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_into(file: OpenFile, offset: int, target: memoryview, *, where: str) -> None:
    """Fill `target` with the bytes from `offset`; raise `WeightsError` where the file ends before."""
    if not isinstance(file, int):
        with must_be_there(where):
            if file.fill(offset, target) < len(target):
                raise _cut_short(where)
        return
    while target:
        try:
            count = os.preadv(file, [target], offset)
        except OSError as e:
            raise _unreadable(e, where) from None
        if not count:
            raise _cut_short(where)
        target = target[count:]
        offset += count


def read_manifest(folder: OpenFolder, *, where: str) -> bytes:
    """Return the bytes of the folder's manifest; raise `NotACheckpoint` where it has none."""
    place = os.path.join(where, MANIFEST)
    if isinstance(folder, FarFolder):
        return far_manifest(folder, MANIFEST, MAX_MANIFEST)
    try:
        file, size = open_file(folder, MANIFEST, where=where)
    except MissingFile:
        raise NotACheckpoint(
            "not a checkpoint, manifest.json is missing",
            where=where,
            fix="make one with: ckptfmt.convert(SOURCE, OUT)",
        ) from None
    try:
        if size > MAX_MANIFEST:
            raise ManifestError(
                f"is {size:,} bytes, more than the {MAX_MANIFEST:,} allowed", where=place, code="manifest.json"
            )
        return read_exactly(file, 0, size, where=place)
    finally:
        release(file)


def _cut_short(where: str) -> WrongSize:
    return WrongSize("ends too early, it was truncated", where=where, fix="copy it again")


def _unreadable(e: OSError, where: str) -> Unreadable:
    return Unreadable(f"cannot be read: {_reason(e)}", where=where)


def _not_regular(reason: str, place: str) -> CkptError:
    return WeightsError(
        f"is not a regular file: {reason}",
        where=place,
        fix="put a copy of the plain file in its place",
        code="layout.not-regular",
    )


def _a_link(place: str) -> CkptError:
    return WeightsError(
        "is not a regular file: it is a link that does not lead into a download cache",
        where=place,
        fix="copy the folder so that links become files: cp -rL OLD NEW",
        code="layout.not-regular",
    )


def _reason(e: OSError | ValueError) -> str:
    return (e.strerror or str(e)) if isinstance(e, OSError) else str(e)
