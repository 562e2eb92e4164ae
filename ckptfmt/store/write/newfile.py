"""A new file beside checkpoints, an export or a page: whole or not there, and in nobody's place."""

import contextlib
import os
import secrets
from collections.abc import Iterator

from ckptfmt.errors import CkptError, NotACheckpoint, TargetExists
from ckptfmt.remote.url import is_url
from ckptfmt.store.write.failure import reported
from ckptfmt.store.write.held import Held, hold_open
from ckptfmt.store.write.place import Place
from ckptfmt.store.write.publish import publish_file

__all__ = ["require_new", "write_new"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def write_new(path: str, *, overwrite: bool = False) -> Iterator[str]:
    """Give the path of a file to write beside `path`; it gets that name once the block ends without an error.

    Raises `TargetExists` where there is something and `overwrite` is not given, or where it is no plain file: a link
    is not followed.
    """
    with _staged(path, overwrite=overwrite) as (place, new, old):
        yield os.path.join(os.path.dirname(os.path.abspath(path)), new.name)
        with reported(path):
            _publish(place, new, old)


def require_new(path: str, *, overwrite: bool = False) -> None:
    """Raise what `write_new` raises before its block, for who has much to do before there is something to write."""
    with _staged(path, overwrite=overwrite):
        pass


@contextlib.contextmanager
def _staged(path: str, *, overwrite: bool) -> Iterator[tuple[Place, Held, Held | None]]:
    """Give the place of a file, an empty one that is staged for it, and what is there; remove what stays staged."""
    if is_url(path):
        what = "is in a store, and this is written on a disk only"
        raise CkptError(what, where=path, fix="name a path of this machine", code="remote.not-here")
    parent, name = os.path.split(os.path.abspath(path))
    with contextlib.ExitStack() as stack:
        with reported(path):
            folder = _open_folder(parent)
            stack.callback(os.close, folder)
            old = stack.enter_context(hold_open(folder, name))
            _check(old, path, overwrite=overwrite)
            staged = f".{name}.{secrets.token_hex(4)}.ckpt-new"
            # As any program makes a file: the umask of whoever runs it takes away what others may not.
            file = os.open(staged, _CREATE, 0o666, dir_fd=folder)
            new = Held(folder, staged, -1, os.fstat(file))
            os.close(file)
        # What has the staging name in the end: what got no other name, or what it replaced.
        for state in (new.state, old.state if old else new.state):
            stack.callback(Held(folder, staged, -1, state).remove)
        yield Place(path, folder, name), new, old


def _open_folder(parent: str) -> int:
    try:
        return os.open(parent, _FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        raise NotACheckpoint("no such folder", where=parent, fix="make it first", code="layout.missing") from None


def _check(old: Held | None, path: str, *, overwrite: bool) -> None:
    if old is None or (overwrite and old.is_file):
        return
    again = "add overwrite=True to replace it, or choose another name"
    raise TargetExists("exists", where=path, fix=again if old.is_file else "choose another name")


def _publish(place: Place, new: Held, old: Held | None) -> None:
    here = Held(place.folder, place.name, place.folder, os.fstat(place.folder))
    try:
        publish_file(place, new, here, place.name, old)
    except FileExistsError:
        raise TargetExists(
            "was created by another program meanwhile", where=place.path, fix="choose another name"
        ) from None
