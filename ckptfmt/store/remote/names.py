"""Which files of a folder, here or in a store, are a checkpoint's."""

import os
import re
import stat
from collections.abc import Iterator

from ckptfmt.errors import TargetExists, printable
from ckptfmt.format.files import HUB_WEIGHTS, MANIFEST, WEIGHTS, compressed_name, is_companion
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.shards import is_data_file

__all__ = ["belongs", "in_the_way", "near_files", "sending_name"]

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
