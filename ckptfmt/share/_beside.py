"""A file in the folder of a checkpoint that is none of its own, such as a card; whoever stated it may lie."""

import hashlib
import os

from ckptfmt.errors import MissingFile, WeightsError
from ckptfmt.format.files import OpenFolder, open_file, read_exactly, release

__all__ = ["digest_beside", "is_beside"]

# Folders in folders, as a download's cache has a few.
_DEEPEST = 16
# A call costs nothing beside the SHA-256 of as much, and files larger than memory are signed.
_BLOCK = 4 << 20
_INSIDE = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_beside(path: str) -> bool:
    """Whether a path that somebody stated is one of a file in the folder, whoever stated it."""
    parts = path.split("/")
    return len(parts) <= _DEEPEST + 1 and "\0" not in path and not {"", ".", ".."} & {*parts}


def digest_beside(folder: OpenFolder, path: str, *, where: str) -> str:
    """Return the SHA-256 of a file in the folder, or in a folder in it; raise `WeightsError` where it cannot be read.

    No link on the way is followed.
    """
    *inner, name = path.split("/")
    if not inner or not isinstance(folder, int):
        return _sha256(folder, path, where)
    opened = _open_inner(folder, inner, where)
    try:
        return _sha256(opened, name, os.path.join(where, *inner))
    finally:
        release(opened)


def _open_inner(folder: int, inner: list[str], where: str) -> int:
    opened = os.dup(folder)
    for name in inner:
        outer = opened
        try:
            opened = os.open(name, _INSIDE, dir_fd=outer)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFile("is missing", where=os.path.join(where, *inner)) from None
        except OSError as e:
            raise WeightsError(f"cannot be opened: {e.strerror}", where=os.path.join(where, *inner)) from None
        finally:
            release(outer)
    return opened


def _sha256(folder: OpenFolder, name: str, where: str) -> str:
    file, size = open_file(folder, name, where=where)
    try:
        hasher = hashlib.sha256()
        for offset in range(0, size, _BLOCK):
            hasher.update(read_exactly(file, offset, min(_BLOCK, size - offset), where=os.path.join(where, name)))
    finally:
        release(file)
    return hasher.hexdigest()
