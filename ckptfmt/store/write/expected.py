"""What a writer read before it took the lock, held against what lies there now.

Who opens a checkpoint, works for long and then writes would replace what another one saved meanwhile.
"""

from ckptfmt.errors import CkptError, WriteError
from ckptfmt.format.files import read_manifest
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import load_manifest
from ckptfmt.store.write.held import Held

__all__ = ["changed_since", "require_expected"]


def require_expected(there: Held | None, expected: Manifest | bytes, *, where: str) -> None:
    """Raise `WriteError` where the checkpoint that is held has another manifest than was read.

    Of a manifest that cannot be parsed the bytes are compared; b"" stands for one that cannot be read.
    """
    if there is None or not _is(there.file, expected, where):
        raise changed_since(where)


def changed_since(where: str) -> WriteError:
    """Return the error for a checkpoint that is not the one any more which was read."""
    return WriteError("was changed since it was read", where=where, fix="run it again", code="write.changed")


def _is(folder: int, expected: Manifest | bytes, where: str) -> bool:
    try:
        if isinstance(expected, bytes):
            return read_manifest(folder, where=where) == expected
        return load_manifest(folder, where=where).manifest_digest == expected.manifest_digest
    except CkptError:
        return expected == b""
