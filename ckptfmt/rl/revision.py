"""Which revision of the training code is at work.

Git is never run: the settings of a repository name programs (a monitor of its files, filters, hooks, transports),
and a repository may be a stranger's. Its few files that say where HEAD is are read instead; whether files differ
from that commit cannot be told so, and is not said.
"""

import contextlib
import os
import re
import stat
import sys
from functools import cache

__all__ = ["code_revision"]

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# HEAD and a ref are one line; packed-refs has one for each branch and tag.
_MAX_SMALL = 4096
_MAX_PACKED = 64 << 20
# SHA-1, and SHA-256 in repositories of the newer format.
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BRANCH = re.compile(r"refs(/(?!\.)[^/\0\n\\]+)+")


def code_revision(folder: str | None = None) -> dict[str, str]:
    """Return {"commit"} of the git repository around the running script; empty where there is none.

    It is looked up once: what runs was loaded when the process began, whatever is committed while it runs.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    place = folder or os.path.dirname(os.path.abspath(script or os.path.join(os.getcwd(), "_")))
    commit = _revision(place)
    return {"commit": commit} if commit else {}


@cache
def _revision(place: str) -> str | None:
    if (found := _repository(os.path.abspath(place))) is None:
        return None
    head = _read(os.path.join(found, "HEAD"))
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else None
    branch = head.removeprefix("ref:").strip()
    return _resolve(found, branch) if _BRANCH.fullmatch(branch) else None


def _repository(place: str) -> str | None:
    """Return the git folder of the work tree around `place`; a linked work tree has a file that names its own."""
    while True:
        inside = os.path.join(place, ".git")
        if os.path.isdir(inside):
            return inside
        named = _read(inside)
        if named.startswith("gitdir:"):
            return os.path.join(place, named.removeprefix("gitdir:").strip())
        if (above := os.path.dirname(place)) == place:
            return None
        place = above


def _resolve(repository: str, branch: str) -> str | None:
    """Return the commit of a branch: from a file of its own, or from the list of packed ones."""
    shared = os.path.join(repository, _read(os.path.join(repository, "commondir")))
    for folder in (repository, shared):
        if _COMMIT.fullmatch(commit := _read(os.path.join(folder, branch))):
            return commit
    for line in _read(os.path.join(shared, "packed-refs"), _MAX_PACKED).splitlines():
        commit, _, name = line.partition(" ")
        if name == branch and _COMMIT.fullmatch(commit):
            return commit
    return None


def _read(path: str, limit: int = _MAX_SMALL) -> str:
    """Return the text of a regular file of at most `limit` bytes, stripped; empty where there is no such thing."""
    with contextlib.suppress(OSError, ValueError):
        file = os.open(path, _FLAGS)
        try:
            info = os.fstat(file)
            if stat.S_ISREG(info.st_mode) and info.st_size <= limit:
                return os.read(file, info.st_size).decode("utf-8", "surrogateescape").strip()
        finally:
            os.close(file)
    return ""
