"""Renaming that swaps two names in one step, where the kernel and the filesystem can (renameat2, Linux 3.15)."""

import ctypes
import errno
import os

__all__ = ["exchange"]

_RENAME_EXCHANGE = 2
# What kernels and filesystems say that know no exchange; overlay filesystems say EXDEV for lower folders.
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV)
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(folder: int, name: str, other_folder: int, other: str) -> bool:
    """Let `name` and `other`, each in its folder, change places; return False where that cannot be done here.

    Raises `OSError` for everything else that goes wrong.
    """
    call = getattr(_libc, "renameat2", None)
    if call is None:
        return False
    if call(folder, os.fsencode(name), other_folder, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNKNOWN:
        return False
    raise OSError(code, os.strerror(code), name)
