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
import re
import time
from collections.abc import Iterator

from ckptfmt.errors import Locked, WriteError, printable
from ckptfmt.format.files import release
from ckptfmt.format.record import record
from ckptfmt.format.writernames import lock_name, owner_name, stage_name
from ckptfmt.store.write.heads import is_signature
from ckptfmt.store.write.held import Held, hold_open, kind_of

__all__ = ["Owner", "hold", "holder", "remove_dead_owner"]

_WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAKE = _WRITE | os.O_CREAT | os.O_EXCL
# No process has a number of more digits; what holds one was written by nobody of ours.
_SIGNATURE = re.compile(rb'\{"host": (?P<host>"[^\n"]{0,255}"), "process": (?P<process>[1-9][0-9]{0,8})\}')
_NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
# The longest time between two tries, in seconds: random and short, so that no writer starves beside others that
# save all the time.
_PAUSE = 0.005
# Descriptors of the locks this process holds. A forked child closes its copies: it would hold the lock of a
# writer that died, for as long as it lives.
_HELD: set[int] = set()


@record
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
            # Signal 0 is sent to nobody and asks only whether it could be.
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


@record
class _Lock:
    """A lock file that is ours; `lay_there` says whether a writer that died may have left it."""

    held: Held
    lay_there: bool


@contextlib.contextmanager
def hold(folder: int, stem: str, *, where: str, wait: float = 0.0) -> Iterator[bool]:
    """Hold the lock of a target whose names lie in `folder`, waiting at most `wait` seconds for it.

    Gives whether its file may have been left by a writer that died: where it was not there, no such writer was.
    Raises `Locked` that names the host and the process of the writer that holds it, `WriteError` where what has
    the name of the lock is none: that is left as it is.
    """
    found = _wait_for(folder, stem, where, time.monotonic() + wait)
    lock = found.held
    _HELD.add(lock.file)
    try:
        _sign(lock.file)
        yield found.lay_there
    finally:
        _HELD.discard(lock.file)
        # Removed while it is held: whoever got hold of the removed file sees that it is gone and starts again.
        lock.remove()
        release(lock.file)


def _wait_for(folder: int, stem: str, where: str, deadline: float) -> _Lock:
    try:
        while (lock := _acquire(folder, stem)) is None:
            if time.monotonic() >= deadline:
                raise Locked(
                    f"is being written by {holder(folder, stem) or 'another process'}",
                    fix="wait for it with wait=SECONDS, or end that process",
                )
            # Not from `random`: processes that a training forked with one seed would knock at the same instants.
            time.sleep(_PAUSE * (1 + os.urandom(1)[0]) / 256)
    except WriteError as e:
        raise e.but(where=where) from None
    return lock


def holder(folder: int, stem: str) -> str:
    """Return which writer holds the lock of a target, "" for none; changes nothing.

    Raises `WriteError` where what has the name of the lock is none.
    """
    with hold_open(folder, owner_name(stem)) as named:
        if named is not None:
            _require_lock(named)
            signed = _signed(named)
            if signed is None or not signed.is_gone():
                return str(signed or "another process")
    with hold_open(folder, lock_name(stem)) as lock:
        if lock is None:
            return ""
        if lock.is_file and _is_locked(lock.file):
            return str(_signed(lock) or "another process")
        _require_lock(lock)
    return ""


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as e:
        if e.errno not in _NO_FLOCK:
            raise
    return False


def _signed(lock: Held) -> Owner | None:
    """Return which process signed a lock file; None where it is not signed."""
    # A whole signature has at most 300 bytes; one byte beyond what is read makes it none.
    if (found := _SIGNATURE.fullmatch(os.pread(lock.file, 1024, 0) if lock.is_file else b"")) is None:
        return None
    try:
        return Owner(json.loads(found["host"]), int(found["process"]))
    except ValueError:
        return None


def _require_lock(lock: Held) -> None:
    """Raise `WriteError` unless this is a plain file with one name that holds what a lock of ours holds."""
    if not lock.is_file:
        why = f"is {kind_of(lock.state.st_mode)}"
    elif os.fstat(lock.file).st_nlink > 1:
        why = "is a link to a file that has another name"
    # Twice what a signature may have, so that one too many shows.
    elif not is_signature(os.pread(lock.file, 2048, 0)):
        why = "holds what no writer wrote into it"
    else:
        return
    raise WriteError(
        f"'{printable(lock.name, 120)}', where its lock belongs, {why}", fix="move that away", code="write.lock"
    )


def _acquire(folder: int, stem: str) -> _Lock | None:
    """Return the lock file, locked; None while another process holds it."""
    name = lock_name(stem)
    if (found := _open_lock(folder, name)) is None:
        return None
    lock = found.held
    try:
        locked = _try_lock(lock.file)
        if locked is not False:
            _require_lock(lock)
        # Who held it before may have removed the file that was just locked.
        if locked and lock.is_at(name):
            return found
        if locked is None:
            lock.remove()
    except BaseException:
        release(lock.file)
        raise
    release(lock.file)
    return _acquire_by_name(folder, stem) if locked is None else None


def _try_lock(file: int) -> bool | None:
    """Return whether the file is locked by this process now; None where the filesystem knows no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as e:
        if e.errno in _NO_FLOCK:
            return None
        raise
    return True


def _open_lock(folder: int, name: str) -> _Lock | None:
    """Return the lock file, open for writing; None where it is gone again, or another user's that is locked."""
    with contextlib.suppress(FileExistsError):
        return _Lock(_make(folder, name), lay_there=False)
    with hold_open(folder, name) as found:
        if found is None:
            return None
        if not found.is_file:
            _require_lock(found)
        try:
            file = os.open(name, _WRITE, dir_fd=folder)
        except FileNotFoundError:
            return None
        except PermissionError:
            if _is_locked(found.file):
                return None
            raise
        return _Lock(Held(folder, name, file, os.fstat(file)), lay_there=True)


def _make(folder: int, name: str) -> Held:
    # For others too, as far as the umask lets them: who may write the target may wait for it.
    file = os.open(name, _MAKE, 0o666, dir_fd=folder)
    return Held(folder, name, file, os.fstat(file))


def _acquire_by_name(folder: int, stem: str) -> _Lock | None:
    """Return a lock file that did not exist; None while its owner may live. One of a dead owner may have lain there."""
    name = owner_name(stem)
    with contextlib.suppress(FileExistsError):
        return _Lock(_make(folder, name), lay_there=True)
    remove_dead_owner(folder, stem)
    return None


def _retire(named: Held, stem: str) -> None:
    """Remove the lock file of a process that has ended; of two that try, one moves it away."""
    moved = stage_name(stem)
    with contextlib.suppress(FileNotFoundError):
        if named.move(moved):
            named.remove(moved)


def remove_dead_owner(folder: int, stem: str) -> None:
    """Remove the file that was the lock of a target by its existence, where its process has ended."""
    with hold_open(folder, owner_name(stem)) as named:
        if named is not None:
            _require_lock(named)
            if (signed := _signed(named)) is not None and signed.is_gone():
                _retire(named, stem)


def _sign(file: int) -> None:
    # ext4 writes a file that was truncated to nothing to the disk when it is closed, and lets the closer wait.
    if os.fstat(file).st_size:
        os.ftruncate(file, 0)
    os.pwrite(file, json.dumps({"host": os.uname().nodename, "process": os.getpid()}).encode(), 0)


def _let_go_in_child() -> None:
    for file in _HELD:
        with contextlib.suppress(OSError):
            release(file)
    _HELD.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
