"""Checkpoints by a pattern, here or in a bucket: more than a command line takes names of, and no shell knows URLs."""

import os
import re
from collections.abc import Iterator, Sequence

from ckptfmt.look.lineage import find_checkpoints
from ckptfmt.remote.address import parse
from ckptfmt.remote.url import as_path, is_url

__all__ = ["matching"]


def matching(path: str) -> Iterator[str]:
    """Yield the checkpoints whose path or URL has the form of `path`, in which `*` is any part of one name.

    A path without it, or of what is there, is yielded as it is. Links are not followed. A folder that may
    not be read is yielded where what has the form may lie in it. Names come as they are listed,
    so the first one does not wait for the last. A pattern that nothing has the form of is yielded as it is, as a shell
    leaves it: whoever opens it says that it is not there, beside all others.
    """
    path = as_path(path)
    if "*" not in (parse(path).key if is_url(path) else path) or os.path.lexists(path):
        yield path
        return
    # The folder below which all of them lie.
    folder = path.partition("*")[0].rpartition("/")[0] or ("/" if path.startswith("/") else ".")
    forms = [re.compile(re.escape(name).replace(r"\*", "[^/]*")) for name in path.rstrip("/").split("/")]
    names = (found if path.startswith(folder) else found.removeprefix("./") for found in find_checkpoints(folder))
    found = (name for name in names if _has_form(name, forms))
    yield next(found, path)
    yield from found


def _has_form(path: str, forms: Sequence[re.Pattern[str]]) -> bool:
    """Return whether a path has the form of a pattern, or is a folder on the way there that nobody can look into."""
    names = path.split("/")
    if not all(form.fullmatch(name) for form, name in zip(forms, names, strict=False)):
        return False
    return len(names) == len(forms) or (len(names) < len(forms) and not is_url(path) and not _may_be_read(path))


def _may_be_read(folder: str) -> bool:
    try:
        os.listdir(folder)
    except OSError:
        return False
    return True
