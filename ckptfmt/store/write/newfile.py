"""A new file beside checkpoints, an export or a page: whole or not there, and in nobody's place."""

import contextlib
import os
import secrets
from collections.abc import Iterator

from ckptfmt.errors import NotACheckpoint, TargetExists
from ckptfmt.store.write.failure import reported

__all__ = ["write_new"]


@contextlib.contextmanager
def write_new(path: str, *, overwrite: bool = False) -> Iterator[str]:
    """Give the path of a file to write beside `path`; it gets that name once the block ends without an error.

    Raises `TargetExists` where there is something and `overwrite` is not given, or where it is no plain file.
    """
    if os.path.lexists(path) and not (overwrite and os.path.isfile(path) and not os.path.islink(path)):
        fix = (
            "add overwrite=True to replace it, or choose another name"
            if os.path.isfile(path)
            else "choose another name"
        )
        raise TargetExists("exists", where=path, fix=fix)
    parent, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise NotACheckpoint("no such folder", where=parent, fix="make it first", code="layout.missing")
    staged = os.path.join(parent, f".{name}.{secrets.token_hex(4)}.ckpt-new")
    try:
        with reported(path):
            # Made here, so that a link that somebody puts in its place is never followed.
            os.close(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
            yield staged
            _publish(staged, path, parent, overwrite=overwrite)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)


def _publish(staged: str, path: str, parent: str, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(staged, path)
    else:
        try:
            # Of two that write one name, the second is told; a rename would replace what the first one made.
            os.link(staged, path)
        except FileExistsError:
            raise TargetExists("was made by somebody else meanwhile", where=path, fix="choose another name") from None
        except PermissionError:  # how Linux says that a filesystem, FAT for one, has no hard links
            os.rename(staged, path)
    folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
