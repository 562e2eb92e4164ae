"""The files of a folder as blocks that hold nothing open: there may be more of them than a process may open."""

import os
import stat

from ckptfmt.errors import SourceError, printable
from ckptfmt.legacy.bytes.blocks import changed, identity

__all__ = ["NamedBlock", "open_folder"]

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_folder(path: str) -> int:
    """Return the descriptor of a folder; raise `SourceError` where it cannot be opened."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise _unreadable(e) from None


class NamedBlock:
    """A block over a file of an open folder, opened for each reading; it must stay the file that it was."""

    def __init__(self, folder: int, name: str) -> None:
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise SourceError(
                f"names '{printable(name)}', which is not the name of a file in the folder", code="source.shard"
            )
        self.name = name
        self._folder = folder
        descriptor = self._open()
        try:
            state = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise SourceError("is not a file", fix="copy the folder again", code="source.not-a-file")
        self._identity = identity(state)
        self.size = state.st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`; raise `SourceError` where there are fewer, or another file."""
        if offset < 0 or size < 0 or offset + size > self.size:
            what = f"ends at byte {self.size:,}, but bytes up to {offset + size:,} are needed"
            raise SourceError(what, fix="copy the folder again", code="source.truncated")
        descriptor = self._open()
        try:
            self._check(os.fstat(descriptor))
            data = os.pread(descriptor, size, offset)
            while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
                data += more
        except OSError as e:
            raise _unreadable(e) from None
        finally:
            os.close(descriptor)
        if len(data) != size:
            raise changed("changed while it was read")
        return data

    def check_unchanged(self) -> None:
        """Raise `SourceError` if the file was written to or replaced."""
        try:
            self._check(os.stat(self.name, dir_fd=self._folder, follow_symlinks=False))
        except OSError:
            raise changed("changed while it was read") from None

    def _open(self) -> int:
        try:
            return os.open(self.name, _OPEN, dir_fd=self._folder)
        except FileNotFoundError:
            raise SourceError("is missing", fix="copy the folder again", code="source.shard") from None
        except (OSError, ValueError) as e:
            raise _unreadable(e) from None

    def _check(self, state: os.stat_result) -> None:
        if identity(state) != self._identity:
            raise changed("changed while it was read")


def _unreadable(e: OSError | ValueError) -> SourceError:
    reason = e.strerror if isinstance(e, OSError) else str(e)
    what, fix = f"cannot be opened: {reason}", "check the path and who may read it"
    return SourceError(what, fix=fix, code="source.unreadable")
