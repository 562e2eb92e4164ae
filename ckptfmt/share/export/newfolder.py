"""A new folder that an export makes: whole or not there, and in the place of nothing but an export before it."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator

from ckptfmt.errors import CkptError, TargetExists
from ckptfmt.store.write.linux import exchange, rename_new

__all__ = ["write_new_folder"]

_IsOwn = Callable[[str], bool]


@contextlib.contextmanager
def write_new_folder(dest: str, is_own: _IsOwn, *, overwrite: bool) -> Iterator[str]:
    """Give the path of a folder to make; it becomes `dest` once the block ends without an error.

    Raises `TargetExists` where something lies there that is not such a folder, or one is and `overwrite` was not
    given: `is_own` says whether a file is one that the export writes.
    """
    above, name = os.path.split(os.path.abspath(dest))
    if os.path.lexists(dest):
        _check_replaceable(dest, is_own, overwrite)
    os.makedirs(above, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name[:100]}.exporting-", dir=above) as staging:
        yield os.path.join(staging, name)
        _publish(staging, above, name, is_own)


def _check_replaceable(dest: str, is_own: _IsOwn, overwrite: bool) -> None:
    names = os.listdir(dest) if os.path.isdir(dest) and not os.path.islink(dest) else None
    if names == []:
        return
    if names is None or not overwrite:
        raise TargetExists("exists", where=dest, fix="add overwrite=True to replace it, or choose another folder")
    if foreign := [name for name in sorted(names) if not is_own(name)]:
        what = f"holds '{foreign[0]}', which is no part of an export, and would be lost"
        raise TargetExists(what, where=dest, fix="move it away, or choose another folder")


def _publish(staging: str, above: str, name: str, is_own: _IsOwn) -> None:
    """Give the staged folder its name in one step; what was replaced has the staged one's then, and goes with it."""
    source, target = os.open(staging, os.O_RDONLY), os.open(above, os.O_RDONLY)
    try:
        if os.path.lexists(os.path.join(above, name)):
            if not exchange(source, name, target, name):
                raise CkptError("this filesystem cannot replace a folder", where=name, code="write.failed")
            try:
                # Somebody may have put something into it while this one was made.
                _check_replaceable(os.path.join(staging, name), is_own, True)
            except BaseException:
                exchange(source, name, target, name)
                raise
        else:
            rename_new(source, name, target, name)
        os.fsync(target)
    finally:
        os.close(source)
        os.close(target)
