"""Random access to the bytes of a source, in bounded reads.

Nothing here maps a file: a file that somebody shrinks while it is mapped kills the process (SIGBUS), while a
short read is an error that can be told.
"""

import os
from collections.abc import Iterable, Iterator
from typing import IO, Protocol

from ckptfmt.errors import SourceError, TooCostly

__all__ = ["CHUNK", "Block", "FileBlock", "MemoryBlock", "Spool", "Window", "changed", "identity", "pieces", "root_of"]

# What is held in memory of a file at once: large enough that reads cost nothing, small beside any network.
CHUNK = 4 << 20


class Block(Protocol):
    """Bytes that are read where they lie, never the whole at once."""

    @property
    def size(self) -> int:
        """Return how many bytes there are."""

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`; raise `SourceError` where there are fewer."""


def _check(offset: int, size: int, have: int) -> None:
    if offset < 0 or size < 0 or offset + size > have:
        raise SourceError(
            f"ends at byte {have:,}, but bytes up to {offset + size:,} are needed",
            fix="the file is cut short or damaged: copy or download it again",
            code="source.truncated",
        )


class MemoryBlock:
    """A block over bytes that are in memory already."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`."""
        _check(offset, size, self.size)
        return self._data[offset : offset + size]


class FileBlock:
    """A block over an open file, which it owns and closes.

    Reads by position, so several threads may share it. `state` is what the file was when it was opened.
    """

    def __init__(self, descriptor: int, state: os.stat_result) -> None:
        self._descriptor = descriptor
        self._state = state
        self._held: bytes | None = None
        self.size = state.st_size

    def hold(self) -> None:
        """Read all of a small file, once: what is looked through and what is made of it are the same bytes then."""
        self._held = self.read(0, self.size)

    def check_unchanged(self, path: str) -> None:
        """Raise `SourceError` if the file was written to, or if another one lies at `path` now."""
        try:
            now, there = os.fstat(self._descriptor), os.stat(path)
        except OSError:
            raise changed("is not there any more") from None
        if identity(now) != identity(self._state) or (there.st_dev, there.st_ino) != (now.st_dev, now.st_ino):
            raise changed("changed while it was read")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`."""
        _check(offset, size, self.size)
        if self._held is not None:
            return self._held[offset : offset + size]
        data = self._pread(offset, size)
        if len(data) == size:
            return data
        # Linux reads less than was asked for beyond 2 GiB, and where a signal comes in between.
        parts = [data]
        have = len(data)
        while have < size:
            parts.append(self._pread(offset + have, size - have))
            have += len(parts[-1])
            if not parts[-1]:
                raise changed("became shorter while it was read")
        return b"".join(parts)

    def _pread(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as e:
            raise SourceError(
                f"cannot be read at byte {offset:,}: {e.strerror}",
                fix="check the disk and try again",
                code="source.unreadable",
            ) from None


def identity(state: os.stat_result) -> tuple[int, ...]:
    """Return what tells one state of a file from another: which file it is, its size and the times of its changes."""
    # Whoever writes may put the time of the last write back; that of the last change nobody sets.
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def changed(what: str) -> SourceError:
    """Return the error for a file that is not what it was when it was opened."""
    return SourceError(what, fix="let the writing program finish, then try again", code="source.changed")


class Window:
    """A part of another block."""

    def __init__(self, block: Block, offset: int, size: int) -> None:
        _check(offset, size, block.size)
        self.block = block
        self.offset = offset
        self.size = size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset` of this part."""
        _check(offset, size, self.size)
        return self.block.read(self.offset + offset, size)


class Spool:
    """Bytes that have no place in the source (unpacked ones), kept in a temporary file that has no name.

    `limit` bounds all that is added; the file is gone when the spool is closed or the process ends.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._end = 0
        self._folder = "the folder for temporary files"
        self._file: IO[bytes] | None = None

    @property
    def room(self) -> int:
        """Return how many bytes may still be added."""
        return self._limit - self._end

    def add(self, chunks: Iterable[bytes]) -> Block:
        """Return a block that holds what the chunks hold; raise `SourceError` beyond the limit."""
        start = self._end
        for chunk in chunks:
            if self._end + len(chunk) > self._limit:
                raise TooCostly(
                    f"unpacks to more than {self._limit:,} bytes, which no honest file of its size does",
                    fix="unpack it yourself if you trust it",
                )
            self._write(chunk)
            self._end += len(chunk)
        if self._file is None:
            return MemoryBlock(b"")
        descriptor = self._file.fileno()
        return Window(FileBlock(descriptor, os.fstat(descriptor)), start, self._end - start)

    def close(self) -> None:
        """Give the temporary file back; blocks made here cannot be read any more."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes]:
        if self._file is None:
            # The one import that waits: hardly a file has to be unpacked, and this one brings five others.
            import tempfile

            self._folder = tempfile.gettempdir()
            # Unbuffered: what is written here is read through the descriptor.
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - close() closes it
        return self._file

    def _write(self, chunk: bytes) -> None:
        try:
            rest = memoryview(chunk)
            while rest:
                rest = rest[self._open().write(rest) :]
        except OSError as e:
            raise SourceError(
                f"cannot be unpacked: {e.strerror}",
                fix=f"make room in {self._folder} or set TMPDIR",
                code="source.spool",
            ) from None


def pieces(block: Block, size: int = CHUNK) -> Iterator[bytes]:
    """Yield the whole of a block in parts of at most `size` bytes."""
    for offset in range(0, block.size, size):
        yield block.read(offset, min(size, block.size - offset))


def root_of(block: Block) -> tuple[Block, int]:
    """Return the block that a window (of a window …) looks into, with the window's offset in it."""
    offset = 0
    while isinstance(block, Window):
        offset += block.offset
        block = block.block
    return block, offset
