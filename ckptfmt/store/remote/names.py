"""Which files of a folder, here or in a store, are a checkpoint's."""

import os
import re
import stat
from collections.abc import Iterator, Mapping

from ckptfmt.errors import MissingFile, TargetExists, WeightsError, WrongSize, printable
from ckptfmt.format.files import HUB_WEIGHTS, MANIFEST, WEIGHTS, compressed_name, is_companion
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.shards import is_data_file
from ckptfmt.remote.folder import FarFolder
from ckptfmt.remote.url import join

__all__ = ["belongs", "far_files", "in_the_way", "near_files", "sending_name"]

_SENDING = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}")


def near_files(folder: int, manifest: Manifest) -> Iterator[tuple[str, FileEntry | None]]:
    """Yield the names of a checkpoint's files as they lie in a folder, the weights first, then its companions'.

    With each comes what the manifest says of its bytes, None where it says nothing of them as they lie there.
    """
    names = set(os.listdir(folder))
    for name, entry in sorted(manifest.files.items(), key=lambda item: item[0] != WEIGHTS):
        packed, stand_in = compressed_name(name), HUB_WEIGHTS if name == WEIGHTS else name
        if packed in names:
            yield packed, None
        else:
            yield (name if name in names else stand_in), entry
    for name in sorted(names):
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if is_companion(name) and not name.startswith(".") and stat.S_ISREG(state.st_mode):
            yield name, None


def far_files(folder: FarFolder, files: Mapping[str, FileEntry]) -> dict[str, int]:
    """Return the names and sizes of a checkpoint's data files as they lie in a store, by one listing.

    Raises `WeightsError` for one that is missing, or of which the store knows a size or SHA-256 that is not its own; of
    a compressed one it is known only that it is there.
    """
    there, found = folder.names(), {}
    for name, entry in files.items():
        packed, stand_in = compressed_name(name), HUB_WEIGHTS if name == WEIGHTS else name
        stored = next((form for form in (name, stand_in, packed) if form in there), "")
        where, fix = join(folder.where, stored or name), "delete what lies there and push it again"
        if not stored:
            raise MissingFile("is missing", where=where, fix=fix)
        found[stored] = there[stored]
        if stored != packed and there[stored] != entry.bytes:
            what = f"has {there[stored]:,} bytes, the manifest says {entry.bytes:,}"
            raise WrongSize(what, where=where, fix=fix)
        if stored != packed and folder.sha256(stored) not in ("", entry.sha256):
            what = "is another file than the manifest says, by its SHA-256"
            raise WeightsError(what, where=where, fix=fix, code="weights.digest")
    return found


def sending_name(name: str, word: str) -> str:
    """Return the name under which the writer of a word uploads a large file before that gets its own."""
    return f".{name}.{word}"


def belongs(name: str) -> bool:
    """Return whether an object of this name is a checkpoint's, or was left by an upload of one."""
    if name in (MANIFEST, HUB_WEIGHTS) or is_data_file(name) or is_companion(name):
        return True
    sending = _SENDING.fullmatch(name)
    return sending is not None and belongs(sending["name"])


def in_the_way(url: str, name: str) -> TargetExists:
    """Return the error for a folder in a store that holds somebody's file."""
    what = f"holds '{printable(name, 60)}', which is no part of a checkpoint, and would be lost"
    return TargetExists(what, where=url, fix="move it away")
