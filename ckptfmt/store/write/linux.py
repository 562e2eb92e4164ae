"""Calls of Linux that Python does not offer: swapping two names in one step, starting to write back early."""

import ctypes
import errno
import os

from ckptfmt.format.files import is_there

__all__ = ["exchange", "rename_new", "start_writeback", "sync_folder"]

_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
# What kernels and filesystems say that know no exchange; overlay filesystems say EXDEV for lower folders.
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV)
# From <linux/fs.h>, as the flags of renames above.
_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(folder: int, name: str, other_folder: int, other: str) -> bool:
    """Let `name` and `other`, each in its folder, change places; return False where that cannot be done here.

    Raises `OSError` for everything else that goes wrong.
    """
    return _rename(folder, name, other_folder, other, _RENAME_EXCHANGE)


def rename_new(folder: int, name: str, other_folder: int, other: str) -> None:
    """Rename `name` to `other`, which must not exist: `FileExistsError` where it does.

    Where the filesystem knows no such call, `other` is looked for right before.
    """
    if _rename(folder, name, other_folder, other, _RENAME_NOREPLACE):
        return
    if is_there(other_folder, other):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), other)
    os.rename(name, other, src_dir_fd=folder, dst_dir_fd=other_folder)


def _rename(folder: int, name: str, other_folder: int, other: str, flag: int) -> bool:
    call = getattr(_libc, "renameat2", None)
    if call is None:
        return False
    if call(folder, os.fsencode(name), other_folder, os.fsencode(other), flag) == 0:
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


def sync_folder(folder: int) -> None:
    """Flush the names in a folder to the disk; filesystems that keep no such promise refuse with EINVAL."""
    try:
        os.fsync(folder)
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
