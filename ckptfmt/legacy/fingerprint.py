"""What tells one source from another before it is read: its bytes and its SHA-256, of several files together."""

import hashlib
import os

from ckptfmt.legacy.distributed.kinds import files_of, is_distributed
from ckptfmt.legacy.listing import digest_of_list
from ckptfmt.legacy.sharded import INDEX, shards_of

__all__ = ["sha256_of", "size_of"]


def size_of(path: str) -> int:
    """Return the bytes of a source, of all its files where it is a folder or an index; raise `OSError`."""
    return sum(os.stat(file).st_size for file in _files(path).values())


def sha256_of(path: str) -> str:
    """Return what `Source.sha256` is of the source at `path`; raise `OSError`."""
    files = _files(path)
    found = {name: _sha256(file) for name, file in files.items()}
    return found[""] if "" in found else digest_of_list(found)


def _files(path: str) -> dict[str, str]:
    """Return the paths of the files of a source by their names, that of a single file by ""."""
    if path.endswith(INDEX):
        return {name: os.path.join(os.path.dirname(path), name) for name in sorted(shards_of(path))}
    if is_distributed(path):
        return {name: os.path.join(path, name) for name in files_of(path)}
    return {"": path}


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
