"""Whether something that lies where a writer leaves things is what a writer of ours leaves there.

A name is no proof. What is ours is a plain file or folder with one name, belongs to us or to whoever owns the
folder, and begins as our files begin, or is what a power cut leaves of one: nothing, a part, or zeros.
"""

import os

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import MANIFEST, compressed_name, is_there, open_file, release
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import load_manifest
from ckptfmt.store.write.heads import HEAD, MOST_SIGNATURE, begins, is_signature, is_staged_file, resembles
from ckptfmt.store.write.held import Held, hold_open, is_content, kind_of

__all__ = ["read_whole", "unknown_content", "unknown_leftover"]


def unknown_leftover(held: Held, stem: str) -> str:
    """Return why a leftover of the target called `stem` is not ours, as the rest of a sentence; "" where it is."""
    if not held.is_file and not held.is_folder:
        return f"is {kind_of(held.state.st_mode)}"
    if held.state.st_uid not in (os.geteuid(), os.fstat(held.folder).st_uid):
        return f"belongs to user {held.state.st_uid}"
    if held.is_folder:
        return unknown_content(held, stem)
    if held.state.st_nlink > 1:
        return "is a link to a file that has another name"
    # A manifest or a companion before its exchange, or a lock that was retired.
    staged = is_staged_file(os.pread(held.file, HEAD, 0)) or is_signature(os.pread(held.file, MOST_SIGNATURE + 1, 0))
    return "" if staged else "is not what a writer leaves"


def unknown_content(held: Held, stem: str = "") -> str:
    """Return why a folder is not one that holds a checkpoint, whole or not, and nothing else; "" where it is.

    In a leftover of the target called `stem` a second name of a file must be that in the target, which a writer
    gives. What is replaced on request may be damaged.
    """
    for name in sorted(os.listdir(held.file)):
        if not is_content(name):
            return f"holds '{printable(name, 60)}', which is no part of a checkpoint"
        with hold_open(held.file, name) as file:
            if file is None:
                continue
            if not file.is_file:
                return f"holds {name}, which is {kind_of(file.state.st_mode)}"
            if stem and file.state.st_nlink > 1 and not _is_in_target(held, stem, file):
                return f"holds {name}, which has another name elsewhere"
            head = os.pread(file.file, HEAD, 0)
            if not (begins if stem else resembles)(name, head) and not _parses(name, held.file):
                return f"holds {name}, which no writer of checkpoints wrote"
    return ""


def read_whole(folder: int, where: str) -> Manifest | None:
    """Return the manifest of the checkpoint in a folder, None unless every file is there, a plain one in full."""
    try:
        manifest = load_manifest(folder, where=where)
        for name, entry in manifest.files.items():
            if is_there(folder, compressed_name(name)):
                continue
            file, size = open_file(folder, name, where=where)
            release(file)
            if size != entry.bytes:
                return None
    except CkptError:
        return None
    return manifest


def _is_in_target(held: Held, stem: str, file: Held) -> bool:
    if file.state.st_nlink > 2:
        return False
    with hold_open(held.folder, stem) as target:
        return target is not None and target.is_folder and file.is_at(file.name, target.file)


def _parses(name: str, folder: int) -> bool:
    """Return whether it is the manifest of another writer, which may order its fields in another way."""
    if name != MANIFEST:
        return False
    try:
        load_manifest(folder, where=name)
    except CkptError:
        return False
    return True
