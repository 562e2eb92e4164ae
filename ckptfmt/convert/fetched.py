"""Sources that lie in a store: fetched into a temporary file for as long as they are read."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ckptfmt.errors import SourceError
from ckptfmt.remote.failure import Absent
from ckptfmt.remote.far import open_far
from ckptfmt.remote.url import is_url

__all__ = ["fetched"]


@contextmanager
def fetched(source: str) -> Iterator[str]:
    """Give the path of a source of this machine, or of the copy of one at a URL, which ends with the block.

    Raises `SourceError` where there is none at the URL.
    """
    if not is_url(source):
        yield source
        return
    folder, _, name = source.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="ckptfmt-source-") as near:
        path = os.path.join(near, name or "source")
        try:
            with open(path, "xb") as file:
                file.writelines(open_far(folder).stream(name))
        except Absent:
            what = "there is no such object"
            raise SourceError(what, where=source, fix="check the URL", code="source.missing") from None
        yield path
