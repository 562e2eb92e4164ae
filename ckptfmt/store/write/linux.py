"""Calls of Linux that Python does not offer: swapping two names in one step, starting to write back early."""

import ctypes
import errno
import os

__all__ = ["exchange", "start_writeback"]

_RENAME_EXCHANGE = 2
# What kernels and filesystems say that know no exchange; overlay filesystems say EXDEV for lower folders.
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV)
_SYNC_FILE_RANGE_WRITE = 2
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


def start_writeback(file: int) -> None:
    """Let the kernel begin to write a file's pages to the disk, so that a later fsync has less to wait for.

    A hint: it promises nothing, and where there is no such call nothing happens.
    """
    if (call := getattr(_libc, "sync_file_range", None)) is not None:
        call(file, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)
