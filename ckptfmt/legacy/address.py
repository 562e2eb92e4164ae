"""Sources that are no paths: addresses of other machines, and standard input. What to do is all that is said."""

import os
import re
import shlex

from ckptfmt.errors import SourceError

__all__ = ["refuse_address"]

# Longer than any scheme, so that a path with :// in it is not taken for an address.
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,15})://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_COPY = {
    "s3": "aws s3 cp {address} .",
    "gs": "gcloud storage cp {address} .",
    "az": "az storage blob download --blob-url {address} --file FILE",
    "http": "curl -LO {address}",
    "https": "curl -LO {address}",
}


def refuse_address(path: str, *, where: str = "") -> None:
    """Raise `SourceError` for what stands for no file here and is none: a URL, or `-` for standard input.

    `where` is left to a caller who puts the path before every error.
    """
    if os.path.lexists(path):
        return
    if path == "-":
        raise SourceError(
            "is standard input, which is not read: a source is read more than once",
            where=where,
            fix="write it to a file first",
            code="source.not-a-file",
        )
    found = _ADDRESS.fullmatch(path)
    if found is None:
        return
    scheme, rest = found["scheme"].lower(), found["rest"]
    address = shlex.quote(path)
    command = _COPY.get(scheme, "")
    # A page of the hub is no file; the command takes the model's owner and name.
    if scheme == "hf" or (scheme in _COPY and rest.startswith("huggingface.co/") and "/resolve/" not in rest):
        command = "hf download " + shlex.quote("/".join(rest.removeprefix("huggingface.co/").split("/")[:2]))
    if scheme == "file":
        raise SourceError(
            "is a URL of a file", where=where, fix=f"give its path: {shlex.quote(rest)}", code="source.remote"
        )
    raise SourceError(
        "is an address, not a file of this machine",
        where=where,
        fix=f"download it first: {command.format(address=address)}" if command else "download it first",
        code="source.remote",
    )
