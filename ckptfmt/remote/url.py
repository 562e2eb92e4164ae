"""URLs of stores told from paths; whatever takes a path asks this, so nothing is loaded for it."""

import os
import re

from ckptfmt.errors import CkptError, printable

__all__ = ["FORM", "SCHEMES", "as_path", "is_url", "join"]

SCHEMES = ("s3", "gs", "az", "https", "http", "hf")
FORM = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<rest>.*)"
# `pathlib.Path("s3://bucket/key")` is this.
_SQUEEZED = rf"({'|'.join(SCHEMES)}|file):/(?!/)"


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the URL of a store; `file:` is none, it names a path of this machine.

    Raises `CkptError` for a URL that lost a slash on its way through `pathlib`, or of a scheme that is not known.
    """
    text = os.fspath(path)
    if ":/" not in text:
        return False
    if re.match(_SQUEEZED, text):
        raise CkptError(
            "is a URL that was turned into a path, which dropped a slash",
            where=text,
            fix="give the URL as text",
            code="remote.url",
        )
    found = re.fullmatch(FORM, text, re.DOTALL)
    if found is None or found["scheme"] == "file":
        return False
    if found["scheme"] not in SCHEMES:
        raise CkptError(
            f"is a URL of the scheme {printable(found['scheme'], 20)}, which is not known here",
            where=text,
            fix=f"use one of {', '.join(SCHEMES)}, file",
            code="remote.url",
        )
    return True


def as_path(path: str | os.PathLike[str]) -> str:
    """Return a path as text, that of a `file:` URL as a path of this machine; other URLs stay as they are."""
    text = os.fspath(path)
    if not text.startswith("file://"):
        return text
    host, slash, rest = text.removeprefix("file://").partition("/")
    if host not in ("", "localhost"):
        raise CkptError("is a file of another machine", where=text, fix="mount it and give its path", code="remote.url")
    # Its import takes longer than all that is done here for a path.
    from urllib.parse import unquote

    return unquote(slash + rest)


def join(url: str, name: str) -> str:
    """Return the URL of what is called `name` in the folder at a URL."""
    return f"{url.rstrip('/')}/{name}"
