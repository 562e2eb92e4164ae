"""Which files of a folder on the disk are a checkpoint's, to be sent elsewhere."""

import os
import stat
from collections.abc import Iterator

from ckptfmt.format.files import HUB_WEIGHTS, WEIGHTS, compressed_name, is_companion
from ckptfmt.format.manifest import FileEntry, Manifest

__all__ = ["near_files"]


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
