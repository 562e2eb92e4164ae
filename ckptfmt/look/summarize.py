"""Say what a path holds: a checkpoint, or a legacy file that is not run."""

import os

from ckptfmt.look.anatomy import SourceSummary, summarize_source
from ckptfmt.look.summary import Summary, summarize_checkpoint

__all__ = ["summarize"]


def summarize(path: str | os.PathLike[str]) -> Summary | SourceSummary:
    """Return what the checkpoint folder or the legacy file at `path` is; no tensor is read, and nothing is run.

    Raises what `ckptfmt.open` raises for a folder, and `SourceError` for a file that cannot be read.

    >>> ckptfmt.summarize("runs/best").algorithm
    'dueling'
    """
    return summarize_source(path) if os.path.isfile(path) else summarize_checkpoint(path)
