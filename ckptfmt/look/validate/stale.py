"""Tell a save that did not save: the parent's very weights under a counter that moved on."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ckptfmt.errors import CkptError, Problem
from ckptfmt.format.files import MANIFEST, open_file, open_folder, read_exactly, release
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import load_manifest
from ckptfmt.look.figures import STEP_NAMES
from ckptfmt.remote.url import is_url

__all__ = ["stale_training"]

# Of a folder with more checkpoints than this no parent is looked for: a check of all of them would take
# as many times as many reads.
_MOST_SIBLINGS = 256
# The manifest_digest is the last field of a manifest; this much of its end holds it.
_TAIL = 256
# Some say by these how long a training is to be; what stays the same has not moved.
_STEPS = (*STEP_NAMES, "total_steps", "num_steps")


def stale_training(path: str, manifest: Manifest) -> Iterator[Problem]:
    """Yield a warning where the parent lies beside the checkpoint, with equal weights and another step count."""
    if manifest.lineage is None or manifest.lineage.parent is None:
        return
    parent = _find(path, manifest.lineage.parent)
    if parent is None or parent.content_digest != manifest.content_digest:
        return
    name, moved = _moved(parent.training_info, manifest.training_info)
    if moved:
        message = f"weights equal the parent's, step count moved by {moved:,}"
        mend = "make sure that the training saves the network that it trains"
        yield Problem("training.stale", f"{MANIFEST} $.training_info.{name}", message, mend, "warning")


def _moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, int]:
    for name in _STEPS:
        old, new = before.get(name), after.get(name)
        if type(old) is int and type(new) is int:
            return name, new - old
    return "", 0


def _find(path: str, digest: str) -> Manifest | None:
    if is_url(path):
        return None
    here = os.path.realpath(path)
    beside = os.path.dirname(here)
    with contextlib.suppress(OSError), os.scandir(beside) as entries:
        found = (entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and entry.path != here)
        # No further than it takes to know that there are too many: all of them are looked at in turn.
        folders = list(islice(found, _MOST_SIBLINGS + 1))
        for sibling in folders if len(folders) <= _MOST_SIBLINGS else ():
            with contextlib.suppress(CkptError):
                if digest in _tail(sibling):
                    return _read(sibling, digest)
    return None


def _tail(path: str) -> str:
    folder = open_folder(path)
    try:
        file, size = open_file(folder, MANIFEST, where=path)
        try:
            start = max(0, size - _TAIL)
            return read_exactly(file, start, size - start, where=path).decode("utf-8", "replace")
        finally:
            release(file)
    finally:
        release(folder)


def _read(path: str, digest: str) -> Manifest | None:
    folder = open_folder(path)
    try:
        manifest = load_manifest(folder, where=path)
    finally:
        release(folder)
    return manifest if manifest.manifest_digest == digest else None
