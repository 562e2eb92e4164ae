"""What has a name in a folder, opened without following a link and held, so that a name alone moves nothing.

Anybody who may write into a folder may give any name to anything at any time. So whatever is moved or removed
here is opened first and looked at through its descriptor, and its name is looked at again right before it is
used. Linux removes by name alone, so between that last look and the removal lies one system call.
"""

import contextlib
import os
import stat
import threading
from collections.abc import Iterator

from ckptfmt.format.files import MANIFEST, SIGNATURE, release
from ckptfmt.format.record import record
from ckptfmt.format.shards import is_data_file
from ckptfmt.store.write.heads import HEAD, resembles
from ckptfmt.store.write.linux import rename_new

__all__ = ["Held", "hold_open", "is_content", "kind_of", "note_files", "note_made"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


# From how many bytes on the last close of a file that was removed is left to a thread.
_LARGE = 1 << 20
# The files that this process made in staging folders, by the folder's descriptor: a write that went wrong may
# have left anything in them, and they are ours all the same.
_MADE: dict[int, set[tuple[int, int]]] = {}


@record
class Held:
    """A file or folder that is called `name` in `folder`; `file` is its descriptor.

    What is neither a file nor a folder is not opened: `file` is -1 then.
    """

    folder: int
    name: str
    file: int
    state: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder."""
        return stat.S_ISDIR(self.state.st_mode)

    @property
    def is_file(self) -> bool:
        """Return whether it is a regular file."""
        return stat.S_ISREG(self.state.st_mode)

    def is_at(self, name: str, folder: int | None = None) -> bool:
        """Return whether `name`, in the same folder unless another is given, is this very thing."""
        try:
            there = os.stat(name, dir_fd=self.folder if folder is None else folder, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(there, self.state)

    def move(self, name: str) -> bool:
        """Give it another name in its folder, which must be free; return False where it is not there any more."""
        if not self.is_at(self.name):
            return False
        rename_new(self.folder, self.name, self.folder, name)
        # Where something else came in between, nobody knows any more which name it had: it is left alone.
        return self.is_at(name)

    def remove(self, name: str = "") -> bool:
        """Remove it, called `name` by now: a file, or a folder and its files of a checkpoint; return whether it went.

        What else a folder holds stays, and the folder with it; so does a file that no writer wrote, whatever its
        name.
        """
        called = name or self.name
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            if self.is_folder:
                # To the end: a folder is not removed before the files that had a name in it are closed.
                large: list[int] = []
                stack.callback(_close_aside, large)
                # Without its manifest it is no checkpoint, so that goes first.
                for file in (MANIFEST, *filter(is_content, os.listdir(self.file))):
                    self._remove_inside(file, large)
                if self.is_at(called):
                    os.rmdir(called, dir_fd=self.folder)
            elif self.is_file and self.is_at(called):
                os.unlink(called, dir_fd=self.folder)
        return not self.is_at(called)

    def _remove_inside(self, name: str, large: list[int]) -> None:
        """Remove one of its files; a descriptor of a large one is added to `large`, to be closed later."""
        with hold_open(self.file, name) as file:
            if file is None or not file.is_file:
                return
            made = (file.state.st_dev, file.state.st_ino) in _MADE.get(self.file, ())
            if made or resembles(name, os.pread(file.file, HEAD, 0)):
                if file.state.st_size >= _LARGE:
                    with contextlib.suppress(OSError):
                        large.append(os.dup(file.file))
                file.remove()


@contextlib.contextmanager
def hold_open(folder: int, name: str) -> Iterator[Held | None]:
    """Hold what is called `name` in a folder while the block runs; None where there is nothing.

    Raises `OSError` for what may not be opened.
    """
    try:
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        plain = stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)
        # To open a device may already do something to it.
        file = os.open(name, _READ, dir_fd=folder) if plain else -1
    except FileNotFoundError:
        yield None
        return
    try:
        yield Held(folder, name, file, os.fstat(file) if plain else state)
    finally:
        if plain:
            release(file)


def is_content(name: str) -> bool:
    """Return whether a file of a checkpoint, or its signature, may be called so."""
    return name in (MANIFEST, SIGNATURE) or is_data_file(name)


def _close_aside(files: list[int]) -> None:
    """Let a thread do the last close of large files that have no name any more; nothing hangs on it.

    It gives their blocks back, and the system may let that wait for the disk longer than a save takes.
    """
    if not files:
        return
    try:
        threading.Thread(target=_close, args=(files,), name="ckptfmt-close", daemon=True).start()
    except RuntimeError:  # no more threads, or the process is about to end
        _close(files)


def _close(files: list[int]) -> None:
    for file in files:
        release(file)


@contextlib.contextmanager
def note_files(folder: int) -> Iterator[None]:
    """While the block runs, take note of the files that `note_made` is told of in this folder."""
    _MADE[folder] = set()
    try:
        yield
    finally:
        del _MADE[folder]


def note_made(folder: int, file: int) -> None:
    """Take note of a file that was just made in a folder, where `note_files` was asked for."""
    if folder in _MADE:
        state = os.fstat(file)
        _MADE[folder].add((state.st_dev, state.st_ino))


def kind_of(mode: int) -> str:
    """Return what a mode says it is: a link, a file, a folder."""
    return _KINDS.get(stat.S_IFMT(mode), "a device")
