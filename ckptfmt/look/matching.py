"""Checkpoints by a pattern, here or in a bucket: more than a command line takes names of, and no shell knows URLs."""

import os
import re
from collections.abc import Iterator

from ckptfmt.look.lineage import find_checkpoints
from ckptfmt.remote.address import parse
from ckptfmt.remote.url import as_path, is_url

__all__ = ["matching"]


def matching(path: str) -> Iterator[str]:
    """Yield the checkpoints whose path or URL has the form of `path`, in which `*` is any part of one name.

    A path without it, or of what is there, is yielded as it is. Links are not followed. Names come as they are listed,
    so the first one does not wait for the last. A pattern that nothing has the form of is yielded as it is, as a shell
    leaves it: whoever opens it says that it is not there, beside all others.
    """
    path = as_path(path)
    if "*" not in (parse(path).key if is_url(path) else path) or os.path.lexists(path):
        yield path
        return
    # The folder below which all of them lie.
    folder = path.partition("*")[0].rpartition("/")[0] or ("/" if path.startswith("/") else ".")
    form = re.compile(re.escape(path.rstrip("/")).replace(r"\*", "[^/]*"))
    names = (found if path.startswith(folder) else found.removeprefix("./") for found in find_checkpoints(folder))
    found = filter(form.fullmatch, names)
    yield next(found, path)
    yield from found
