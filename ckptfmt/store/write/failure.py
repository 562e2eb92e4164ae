"""What the operating system refuses to a writer, as one sentence with its mend."""

import contextlib
import errno
import os
from collections.abc import Iterator

from ckptfmt.errors import CkptError, WriteError

__all__ = ["disturbed", "reported", "require_space"]

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_FIXES = {
    **dict.fromkeys(_NO_SPACE, ("write.no-space", "free some space or choose another folder")),
    **dict.fromkeys(_READ_ONLY, ("write.read-only", "choose a folder you may write to")),
    errno.EIO: ("write.failed", "the disk failed, choose another one"),
    errno.EFBIG: ("write.too-large", "raise the file size limit (ulimit -f) or choose another filesystem"),
    errno.EMFILE: ("write.failed", "raise the limit of open files (ulimit -n)"),
    errno.EBUSY: ("write.failed", "a mount point cannot be replaced, choose a folder in it"),
    errno.ENAMETOOLONG: ("write.failed", "choose a shorter name"),
}


@contextlib.contextmanager
def reported(where: str) -> Iterator[None]:
    """Turn every `OSError` of the block into a `WriteError` about `where`, `errno` kept."""
    try:
        yield
    except CkptError:
        raise
    except OSError as e:
        code, fix = _FIXES.get(e.errno or 0, ("write.failed", ""))
        failure = WriteError(f"cannot be written: {e.strerror or e}", where=where, fix=fix, code=code)
        failure.errno = e.errno
        raise failure from e


def disturbed(where: str) -> WriteError:
    """Return the error for a name that stands for another thing than the one that was opened under it."""
    return WriteError(
        "somebody else moved or replaced parts of it while it was written",
        where=where,
        fix="see who writes into its folder, then try again",
        code="write.disturbed",
    )


def require_space(folder: int, needed: int, *, where: str) -> None:
    """Raise `WriteError` where the filesystem of `folder` has fewer than `needed` bytes free for this user."""
    info = os.fstatvfs(folder)
    # What a filesystem reserves is for root alone.
    free = (info.f_bfree if os.geteuid() == 0 else info.f_bavail) * info.f_frsize
    # Filesystems without a size of their own, buckets among them, report no blocks at all.
    if info.f_blocks and free < needed:
        failure = WriteError(
            f"needs {needed:,} bytes, the filesystem has {free:,} free",
            where=where,
            fix=_FIXES[errno.ENOSPC][1],
            code="write.no-space",
        )
        failure.errno = errno.ENOSPC
        raise failure
