"""What the ways of a checkpoint leave in its place: links into a cache, pointers to what was not fetched, CRLF."""

import os
import re
import stat

from ckptfmt.errors import WeightsError, printable

__all__ = [
    "LINK_FIX",
    "MAX_POINTER",
    "LfsPointer",
    "is_rewritten",
    "leads_out",
    "lf",
    "lfs_object",
    "link_text",
    "open_link",
    "pointer",
]

_PATH = getattr(os, "O_PATH", 0)
# A cache of downloads or of versions calls its files by their content, in folders of two or three letters or one of
# the same name: huggingface_hub (`blobs/`), DVC (`files/md5/3a/…`), git-annex (`objects/Xx/Yy/KEY/KEY`).
# 30 hex digits are an MD5 without the two that name its folder, 128 a SHA-512; else BACKEND-sSIZE--NAME of git-annex.
_KEY = r"(?:[0-9a-f]{30,128}|[A-Z0-9_]+-s[0-9]+(?:-[A-Za-z0-9-]+)?--[^/]+)"
_IN_CACHE = re.compile(rf"(?P<root>/.+?)(?:/[0-9A-Za-z]{{2,3}}){{0,2}}(?:/{_KEY})?/{_KEY}")
_LFS = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\r?\n"
    rb"(?:[a-z0-9.-]+ .*\r?\n)*?oid sha256:([0-9a-f]{64})\r?\nsize ([0-9]{1,18})\s*"
)
# A relative path, or the place of an object of git-annex, alone in a file.
_LINK = re.compile(
    rb"((?:\.{1,2}/|/?(?:\.git/)?annex/objects/|[\w.-]+/)(?:[^\x00-\x20/:?*<>|\"\\]+/)*[^\x00-\x20/:?*<>|\"\\]+)\n?"
)
LINK_FIX = "fetch what it names: clone with git config core.symlinks true, git annex get, or copy with cp -L"
# The specification of Git LFS: a pointer is shorter than this.
MAX_POINTER = 1024


class LfsPointer(WeightsError):
    """The text that Git LFS keeps in the place of a file that was not fetched, or another keeps of a link."""

    code = "weights.lfs-pointer"


def open_link(folder: int, name: str, beside: str) -> int | None:
    """Return a descriptor of the regular file that a link of the folder ends in, or None.

    It ends in a cache that calls its files by their content, and the link `beside` it, if that is one, in the same
    cache. The end is found without opening it, looked at, and only then opened: what is read is what was looked at.
    """
    end = _end(folder, name)
    if end is None:
        return None
    descriptor, root = end
    try:
        other = _end(folder, beside) if beside != name else None
        if other is not None:
            os.close(other[0])
            if other[1] != root:
                return None
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _end(folder: int, name: str) -> tuple[int, str] | None:
    """Return a descriptor, which cannot be read from, of where a link ends, and the root of the cache that it is in."""
    try:
        if not _PATH or not stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return None
        descriptor = os.open(name, _PATH | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        found = _IN_CACHE.fullmatch(os.readlink(f"/proc/self/fd/{descriptor}"))
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        found, regular = None, False
    if found is None or not regular:
        os.close(descriptor)
        return None
    return descriptor, found["root"]


def leads_out(path: str, folder: str) -> bool:
    """Return whether a path is a link that ends neither below a folder nor in a cache that names files by content."""
    if not os.path.islink(path):
        return False
    end, root = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath((end, root)) != root and _IN_CACHE.fullmatch(end) is None


def pointer(data: bytes, sha256: str, *, where: str) -> LfsPointer | None:
    """Return the error for a file that is a Git LFS pointer, None for any other; `sha256` is that of the file."""
    if end := link_text(data):
        what = f"is the text of a link to '{printable(end, 200)}', which was not kept as one"
        return LfsPointer(what, where=where, fix=LINK_FIX, code="weights.link")
    if (named := lfs_object(data)) is None:
        return None
    right = "to these very bytes" if named == sha256 else "to other bytes than the manifest lists"
    return LfsPointer(f"is a Git LFS pointer {right}, which were not fetched", where=where, fix="run: git lfs pull")


def lfs_object(data: bytes) -> str | None:
    """Return the SHA-256, in hex, of the object that a file of Git LFS stands for; None for any other file."""
    found = _LFS.fullmatch(data) if len(data) < MAX_POINTER else None
    return found[1].decode() if found else None


def link_text(data: bytes) -> str:
    """Return the path that a file holds and nothing else, "" for any other file.

    So git keeps a link where there are none (`core.symlinks false`), and so do archives that follow none.
    """
    found = _LINK.fullmatch(data) if len(data) < MAX_POINTER else None
    return found[1].decode("utf-8", "replace") if found else ""


def lf(data: bytes) -> bytes:
    """Return a text with the line ends that a manifest is written with."""
    return data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n") + b"\n"


def is_rewritten(data: bytes, written: bytes) -> bool:
    """Return whether the bytes of a manifest differ from those it was written as in nothing but their line ends."""
    return data != written and lf(data) == written
