"""Say what a path holds: a checkpoint, or a legacy file that is not run."""

import os
from typing import TYPE_CHECKING

from ckptfmt.errors import NotACheckpoint
from ckptfmt.format.files import MANIFEST
from ckptfmt.legacy.distributed.kinds import is_distributed
from ckptfmt.look.summary import Summary, summarize_checkpoint
from ckptfmt.remote.url import is_url

if TYPE_CHECKING:
    from ckptfmt.look.anatomy import SourceSummary

__all__ = ["is_source", "summarize"]


def summarize(path: str | os.PathLike[str]) -> "Summary | SourceSummary":
    """Return what the checkpoint folder or the legacy file at `path` is; no tensor is read, and nothing is run.

    Of a URL that is no checkpoint the file is fetched. Raises what `ckptfmt.open` raises for a folder, and
    `SourceError` for a file that cannot be read.

    >>> ckptfmt.summarize("runs/best").algorithm
    'dueling'
    """
    if not is_source(path):
        try:
            return summarize_checkpoint(path)
        except NotACheckpoint as missing:
            return _far_source(path, missing)
    # It loads all that reads legacy files, which takes longer than to look at a checkpoint.
    from ckptfmt.look.anatomy import summarize_source

    return summarize_source(path)


def _far_source(path: str | os.PathLike[str], missing: NotACheckpoint) -> "SourceSummary":
    """Return what the file at a URL is; raise what says that there is no checkpoint where there is no file either."""
    if not is_url(path):
        raise missing
    from ckptfmt.convert.fetched import NothingFar
    from ckptfmt.look.anatomy import summarize_source

    try:
        return summarize_source(path)
    except NothingFar:
        raise missing from None


def is_source(path: str | os.PathLike[str]) -> bool:
    """Return whether what lies at `path` is another program's: a file, or a folder of torch.distributed.checkpoint."""
    where = os.fspath(path)
    return os.path.isfile(where) or (not os.path.exists(os.path.join(where, MANIFEST)) and is_distributed(where))
