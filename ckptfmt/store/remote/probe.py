"""Whether a store honours conditions, asked before anything is trusted to it.

Some servers let every put through, whatever it asks for; there two writers would both believe they had won.
"""

import secrets

from ckptfmt.errors import CkptError
from ckptfmt.remote.bucket import BucketFolder
from ckptfmt.remote.failure import StoreError, Taken
from ckptfmt.remote.store import Found

__all__ = ["require_conditions"]

# A version that no object has.
_NEVER = Found(0, '"00000000000000000000000000000000"', version="1")
_ASKED: set[int] = set()


def require_conditions(folder: BucketFolder) -> None:
    """Raise `CkptError` where the store of a folder does not honour conditions; each store is asked once a process."""
    if id(folder.store) in _ASKED:
        return
    if not folder.store.is_bucket:
        raise CkptError(
            "is read only", where=folder.where, fix="write to s3://, gs:// or az://", code="remote.read-only"
        )
    word = secrets.token_hex(8)
    # Beside the folder and not in it: there it would look like what an upload left.
    beside = folder.url.key.rpartition("/")[0]
    key = f"{beside}/.probe-{word}" if beside else f".probe-{word}"
    folder.store.put(key, b"ckptfmt asks whether conditions are honoured\n", word)
    try:
        if not (_refused(folder, key, None) and _refused(folder, key, _NEVER)):
            raise StoreError(
                "this store does not honour conditional writes, so two writers could destroy each other's checkpoint",
                where=folder.where,
                fix="use one that honours If-None-Match and If-Match",
                code="remote.conditions",
            )
    finally:
        folder.store.remove([key])
    _ASKED.add(id(folder.store))


def _refused(folder: BucketFolder, key: str, over: Found | None) -> bool:
    try:
        folder.store.put(key, b"this must not be written\n", secrets.token_hex(8), over=over)
    except Taken:
        return True
    return False
