"""Read a file while it is written, compare it with what was given, and digest what lies in it.

The digests of a checkpoint are taken of what came back from the file. So a write that lied about its length, a
filesystem that lost a part, and a tensor that another thread changed in the meantime are found before anybody
can see the file. The caller's thread writes, reads back, compares and takes BLAKE3, one beside it SHA-256, which is
about as much: where other work keeps the processors busy, threads that wait for one another cost more than they win.
That thread serves all files of a save, so it goes on while one is flushed and the next one begun.
"""

import hashlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Self, TypeVar

from ckptfmt.errors import WriteError
from ckptfmt.format.digest import Hasher

__all__ = ["BLOCK", "PART", "FileHasher", "ReadBack", "Worker", "start_worker"]

# The largest part in which a file is written. It is read back into _BUFFERS of PART bytes: few and small, since
# memory that was never touched costs more than to hash it, and what stays in the processor's cache is compared and
# hashed faster.
BLOCK = 4 << 20
PART = 1 << 20
_BUFFERS = 16
# Buffers that no writer uses at the moment, for the next one.
_IDLE: deque[bytearray] = deque(maxlen=_BUFFERS)

_Item = TypeVar("_Item")


class FileHasher:
    """Takes SHA-256 of files, part by part, in a thread beside those who write them; a context manager.

    Without `threads` it is done in the calls of the writer: where other processes keep the processors busy,
    handing on costs more than it wins.
    """

    def __init__(self, *, threads: bool = True) -> None:
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._made = 0
        self._worker = start_worker(self._hash) if threads else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.stop()
        while not self._free.empty():
            _IDLE.append(self._free.get())

    def buffer(self) -> bytearray:
        """Return memory for the next part, once there is some: as much as is hashed at once."""
        if self._made < _BUFFERS and self._free.empty():
            self._made += 1
            return _borrow()
        return self._free.get()

    def give(self, sha256: "hashlib._Hash", buffer: bytearray, size: int) -> None:
        """Have the first bytes of a buffer taken into the digest of a file."""
        if self._worker is None:
            self._hash((sha256, buffer, size))
        else:
            self._worker.give((sha256, buffer, size))

    def finish(self) -> None:
        """Wait until all is hashed."""
        if self._worker is not None:
            self._worker.finish()

    def _hash(self, part: tuple["hashlib._Hash", bytearray, int]) -> None:
        sha256, buffer, size = part
        try:
            sha256.update(memoryview(buffer)[:size])
        finally:
            # Else the writer would wait for it for ever.
            self._free.put(buffer)


class ReadBack:
    """Follow the writer of `file`, which consists of segments of `sizes`."""

    def __init__(self, file: int, sizes: Sequence[int], hasher: FileHasher, *, where: str) -> None:
        self._file = file
        self._where = where
        self._position = 0
        self._hasher = hasher
        self._sha256 = hashlib.sha256()
        self._digests: list[str] = []
        # What is left of the segments, the last first. One is in the making at a time: a hasher takes two thousand
        # bytes, and there may be hundreds of thousands of segments.
        self._left = [*sizes][::-1]
        self._segment = Hasher()
        self._end_segments()

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the digest of each segment that is whole."""
        return tuple(self._digests)

    def sha256(self) -> str:
        """Return SHA-256 of the file, once its hasher is finished."""
        return self._sha256.hexdigest()

    def written(self, block: bytes | bytearray | memoryview) -> None:
        """Read back `block`, which was written behind what was written before; raise `WriteError` if it differs."""
        whole = memoryview(block)
        for start in range(0, len(whole), PART):
            self._read(whole[start : start + PART])

    def _read(self, block: memoryview) -> None:
        buffer = self._hasher.buffer()
        view = memoryview(buffer)[: len(block)]
        # startswith compares with memcmp, without a copy.
        if not (self._fill(view) and buffer.startswith(block)):
            raise self.differs()
        self._hasher.give(self._sha256, buffer, len(block))
        self._digest_segments(view)

    def differs(self) -> WriteError:
        """Return the error of a file that does not hold what was written."""
        return WriteError(
            "what was read back is not what was written",
            where=self._where,
            fix="do not change tensors during a save; if none changed, check the disk and the memory of this machine",
            code="write.read-back",
        )

    def _fill(self, view: memoryview) -> bool:
        """Read on into all of `view`; return whether the file went that far."""
        count = 0
        while count < len(view) and (more := os.preadv(self._file, [view[count:]], self._position)):
            count += more
            self._position += more
        return count == len(view)

    def _digest_segments(self, view: memoryview) -> None:
        while view:
            part, view = view[: self._left[-1]], view[self._left[-1] :]
            self._segment.update(part)
            self._left[-1] -= len(part)
            self._end_segments()

    def _end_segments(self) -> None:
        """Take the digest of the segment that is whole, and of empty ones behind it."""
        while self._left and not self._left[-1]:
            self._left.pop()
            self._digests.append(self._segment.text())
            self._segment = Hasher()


def start_worker(work: Callable[[_Item], None]) -> "Worker[_Item] | None":
    """Return a worker; None where no thread can be started, as at the end of a process, where saves still finish."""
    try:
        return Worker(work)
    except RuntimeError:
        return None


def _borrow() -> bytearray:
    try:
        return _IDLE.pop()
    except IndexError:
        return bytearray(PART)


class Worker(Generic[_Item]):
    """A thread that does `work` on each thing it is given, in order, and keeps the first error."""

    def __init__(self, work: Callable[[_Item], None]) -> None:
        self._error: BaseException | None = None
        self._work = work
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ckptfmt-read-back", daemon=True)
        self._thread.start()

    def give(self, item: _Item) -> None:
        """Leave the thing for the thread."""
        self._queue.put(item)

    def stop(self) -> None:
        """Wait until all is done and end the thread; stopping twice is allowed."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def finish(self) -> None:
        """Wait until all is done; raise the first error."""
        self.stop()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._work(item)
            except BaseException as e:  # raised by `finish`, in the thread that asked
                self._error = self._error or e
