"""What is different about a checkpoint in a store: it is uploaded object by object, and each request costs."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from ckptfmt.errors import CkptError, ManifestError, MissingFile, NotACheckpoint
from ckptfmt.remote.failure import Absent
from ckptfmt.remote.folder import FarFolder
from ckptfmt.remote.url import join

__all__ = [
    "REMOVED",
    "far_manifest",
    "in_a_store",
    "is_manifest",
    "is_tombstone",
    "must_be_there",
    "replaceable",
    "tombstone",
    "unfinished",
]

# How a tombstone begins.
_TAKEN_OVER = b'{"format":"ckptfmt-taken-over"'
# What stands there while the files of a checkpoint are removed.
REMOVED = b'{"format":"ckptfmt-removed"}\n'
# Every manifest is larger than these, so a listing tells which checkpoints were committed.
_LEAST_MANIFEST = 384


def far_manifest(folder: FarFolder, name: str, most: int) -> bytes:
    """Return the bytes of the manifest of a checkpoint in a store; raise `NotACheckpoint` where it has none."""
    try:
        data = folder.fetch_manifest(name, most)
    except Absent:
        raise NotACheckpoint(
            f"there is no checkpoint at this URL, {name} is missing", where=folder.where, fix="check the URL"
        ) from None
    if len(data) > most:
        what = f"is more than the {most:,} bytes allowed"
        raise ManifestError(what, where=join(folder.where, name), code="manifest.json")
    if data == REMOVED or is_tombstone(data):
        raise unfinished(folder.where, data)
    return data


def tombstone(word: str, over: Sequence[str] = ()) -> bytes:
    """Return what a writer in a bucket puts in the place of the manifest while it is at work.

    It holds the writer's word: S3 tells versions of an object by the digest of their bytes, so a tombstone that were
    the same for all would let a writer commit over that of whoever took over from it. `over` are the versions that a
    put of this writer, or of one before it, may still replace.
    """
    return _TAKEN_OVER + b',"by":"%s","over":"%s"}\n' % (word.encode(), " ".join(over).encode())


def replaceable(marker: bytes) -> tuple[str, ...]:
    """Return the versions that a tombstone says may still be replaced."""
    found = re.search(rb'"over":"([0-9a-f ]*)"', marker)
    return tuple(found[1].decode().split()) if found else ()


def is_tombstone(data: bytes) -> bool:
    """Return whether what stands in the place of a manifest is a tombstone."""
    return len(data) < _LEAST_MANIFEST and data.startswith(_TAKEN_OVER)


def is_manifest(size: int | None) -> bool:
    """Return whether an object of so many bytes in the place of a manifest is one; None where there is no object."""
    return size is not None and size >= _LEAST_MANIFEST


def unfinished(where: str, marker: bytes) -> NotACheckpoint:
    """Return the error for a checkpoint in a store that is being written, or removed."""
    if marker == REMOVED:
        what, fix = "was removed, and some of its files are left", "remove them with the provider's tool"
    else:
        what, fix = (
            "an upload to this URL was not finished, or is going on",
            ("wait for it, or upload it again with overwrite=True"),
        )
    return NotACheckpoint(what, where=where, fix=fix, code="remote.unfinished")


@contextlib.contextmanager
def must_be_there(where: str) -> Iterator[None]:
    """Raise `MissingFile` for a file that the block reads and the store does not have."""
    try:
        yield
    except Absent:
        raise MissingFile("is missing", where=where, fix="copy the checkpoint again") from None


def in_a_store(where: str) -> CkptError:
    """Return the error of what is done on a disk only."""
    return CkptError(
        "is in a store, and this is done on a disk only",
        where=where,
        fix="copy it here first: ckpt pull URL FOLDER",
        code="remote.not-here",
    )
