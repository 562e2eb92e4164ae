"""The parts of a URL.

A URL stands in outputs, errors and manifests, so it holds no secret: one with a password or a query is refused, and
is not repeated in the refusal. Keys come from the environment and from the files of the provider's own tools.
"""

import re
from dataclasses import dataclass

from ckptfmt.errors import CkptError
from ckptfmt.remote.url import FORM

__all__ = ["Url", "parse"]

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Names of revisions that hold a slash; all others end at the first one.
_LONG_REVISION = re.compile(r"refs/(?:pr|convert|heads|tags)/[^/]+")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL: its scheme, the bucket, container, server or repository, what follows, and the revision of a hub's."""

    scheme: str
    place: str
    key: str
    revision: str = ""

    def __str__(self) -> str:
        """Return the URL as it is written."""
        mark = f"@{self.revision}" if self.revision else ""
        return f"{self.scheme}://{self.place}{mark}" + (f"/{self.key}" if self.key else "")


def parse(url: str) -> Url:
    """Return the parts of a URL; raise `CkptError` for one that holds a secret or names no place."""
    found = re.fullmatch(FORM, url, re.DOTALL)
    if found is None:
        raise CkptError("is no URL", where=url, fix="as in: s3://BUCKET/FOLDER", code="remote.url")
    scheme, rest = found["scheme"], found["rest"]
    if "?" in rest or "#" in rest or (scheme != "hf" and "@" in rest.partition("/")[0]):
        raise CkptError(
            f"a URL of {scheme} with a password or a query is refused: it would end up in outputs, logs and manifests",
            fix="leave it out, and give the key in the environment",
            code="remote.url",
        )
    parsed = _hub(rest) if scheme == "hf" else Url(scheme, *_split(rest))
    if not parsed.place or any(part in (".", "..") for part in parsed.key.split("/")):
        raise CkptError("names no place in a store", where=url, fix="as in: s3://BUCKET/FOLDER", code="remote.url")
    return parsed


def _split(rest: str) -> tuple[str, str]:
    place, _, key = rest.partition("/")
    return place, key.strip("/")


def _hub(rest: str) -> Url:
    """Take `owner/name[@revision][/folder]` apart."""
    name, at, after = rest.strip("/").partition("@")
    revision = folder = ""
    if at:
        long = _LONG_REVISION.match(after)
        revision = long[0] if long else after.partition("/")[0]
        folder = after[len(revision) :].strip("/")
    else:
        parts = name.split("/")
        name, folder = "/".join(parts[:2]), "/".join(parts[2:])
    if not _HUB_NAME.fullmatch(name) or (at and not revision):
        raise CkptError(
            "names no repository of the hub", where=f"hf://{rest}", fix="as in: hf://OWNER/NAME@REVISION",
            code="remote.url",
        )  # fmt: skip
    return Url("hf", name, folder, revision)
