"""One writer at a time for each target.

The lock is `flock` on a file beside the target, so it ends with its process, however that ends: a lock file
that nobody holds is a leftover, whatever its age and whatever the clock says. Where the filesystem knows no
`flock`, the file's existence is the lock and the process named in it is asked for.
"""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ckptfmt.errors import Locked
from ckptfmt.format.files import release
from ckptfmt.format.siblings import lock_name, owner_name, stage_name

__all__ = ["Owner", "hold", "is_held", "owner"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
# The longest time between two tries, in seconds: random and short, so that no writer starves beside others that
# save all the time.
_PAUSE = 0.005
# Descriptors of the locks this process holds. A forked child closes its copies: it would hold the lock of a
# writer that died, for as long as it lives.
_HELD: set[int] = set()


@dataclass(frozen=True, slots=True)
class Owner:
    """Which process wrote a lock file."""

    host: str
    process: int

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"

    def is_gone(self) -> bool:
        """Return whether the process is known to have ended: it ran on this host and is not there."""
        if self.host != os.uname().nodename:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


@contextlib.contextmanager
def hold(folder: int, stem: str, *, where: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock of a target whose names lie in `folder`, waiting at most `wait` seconds for it.

    Raises `Locked` that names the host and the process of the writer that holds it.
    """
    deadline = time.monotonic() + wait
    while (held := _acquire(folder, stem)) is None:
        if time.monotonic() >= deadline:
            other = owner(folder, lock_name(stem)) or owner(folder, owner_name(stem)) or "another process"
            raise Locked(
                f"is being written by {other}", where=where, fix="wait for it with wait=SECONDS, or end that process"
            )
        time.sleep(_PAUSE * (1 + os.urandom(1)[0]) / 256)
    file, name = held
    _HELD.add(file)
    try:
        _sign(file)
        yield
    finally:
        _HELD.discard(file)
        # Removed while it is held: whoever got hold of the removed file sees that it is gone and starts again.
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
        release(file)


def is_held(folder: int, stem: str) -> bool:
    """Return whether a writer holds the lock of a target; changes nothing."""
    if (named := owner(folder, owner_name(stem))) is not None and not named.is_gone():
        return True
    try:
        file = os.open(lock_name(stem), _READ, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as e:
        if e.errno not in _NO_FLOCK:
            raise
    finally:
        release(file)
    return False


def owner(folder: int, name: str) -> Owner | None:
    """Return which process signed the file `name`; None where there is none or it is not signed."""
    try:
        file = os.open(name, _READ, dir_fd=folder)
    except OSError:
        return None
    try:
        signed = json.loads(os.pread(file, 4096, 0))
        return Owner(str(signed["host"]), int(signed["process"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    finally:
        release(file)


def _acquire(folder: int, stem: str) -> tuple[int, str] | None:
    """Return (descriptor, name) of the lock file, locked; None while another process holds it."""
    name = lock_name(stem)
    file = os.open(name, _OPEN, 0o666, dir_fd=folder)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(file, folder, name):
            return file, name
    except BlockingIOError:
        pass
    except OSError as e:
        release(file)
        if e.errno in _NO_FLOCK:
            os.unlink(name, dir_fd=folder)
            return _acquire_by_name(folder, stem)
        raise
    release(file)
    return None


def _is_still(file: int, folder: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _acquire_by_name(folder: int, stem: str) -> tuple[int, str] | None:
    """Return (descriptor, name) of a lock file that did not exist; None while its owner may live."""
    name = owner_name(stem)
    try:
        return os.open(name, _OPEN | os.O_EXCL, 0o666, dir_fd=folder), name
    except FileExistsError:
        pass
    first = owner(folder, name)
    if first is not None and first.is_gone():
        _retire(folder, stem, first)
    return None


def _retire(folder: int, stem: str, gone: Owner) -> None:
    """Remove the lock file of a process that has ended; of two that try, one moves it away."""
    name, moved = owner_name(stem), stage_name(stem)
    with contextlib.suppress(FileNotFoundError):
        os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=folder)
        if owner(folder, moved) == gone:
            os.unlink(moved, dir_fd=folder)
        else:
            os.rename(moved, name, src_dir_fd=folder, dst_dir_fd=folder)


def _sign(file: int) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps({"host": os.uname().nodename, "process": os.getpid()}).encode(), 0)


def _let_go_in_child() -> None:
    for file in _HELD:
        with contextlib.suppress(OSError):
            release(file)
    _HELD.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
