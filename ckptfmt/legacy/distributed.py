"""Folders of torch.distributed.checkpoint: many files that hold parts of tensors, with one pickle that says which."""

import os
import shlex

from ckptfmt.errors import SourceError

__all__ = ["is_distributed", "refuse_distributed"]

_INDEX, _PART = ".metadata", ".distcp"


def is_distributed(folder: str) -> bool:
    """Return whether a folder is one that torch.distributed.checkpoint writes."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return _INDEX in names and any(name.endswith(_PART) for name in names)


def refuse_distributed(path: str) -> None:
    """Raise `SourceError` for such a folder, or a file of it, with the command that makes one file of all."""
    inside = path.endswith(_PART) or os.path.basename(path) == _INDEX
    folder = (os.path.dirname(path) or ".") if inside else path
    if not is_distributed(folder):
        return
    made = shlex.quote(f"{os.path.normpath(folder)}.pt")
    raise SourceError(
        f"is {'part of ' if inside else ''}a folder of torch.distributed.checkpoint, whose tensors lie in parts",
        where=path,
        fix="make one file of it where you trust it: "
        f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {shlex.quote(folder)} {made}",
        code="source.not-a-checkpoint",
    )
