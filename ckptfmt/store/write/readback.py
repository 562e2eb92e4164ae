"""Read a file while it is written, compare it with what was given, and digest what lies in it.

The digests of a checkpoint are taken of what came back from the file. So a write that lied about its length, a
filesystem that lost a part, and a tensor that another thread changed in the meantime are found before anybody
can see the file. One thread reads, compares and takes BLAKE3, another SHA-256, while the caller's
writes; nearly all of it happens outside the GIL.
"""

import hashlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from ckptfmt.errors import WriteError
from ckptfmt.format.digest import Hasher

__all__ = ["BLOCK", "Found", "ReadBack"]

# The largest part in which a file is written. A writer holds at most _DEPTH + 1 of them, whatever the sizes of
# the tensors, and _BUFFERS of _PART bytes in which they are read back: few and small, since memory that was never
# touched costs more than to hash it, and what stays in the processor's cache is compared and hashed faster.
BLOCK = 4 << 20
_DEPTH = 6
_PART = 1 << 20
_BUFFERS = 8
# Buffers that no writer uses at the moment, for the next one.
_IDLE: deque[bytearray] = deque(maxlen=_BUFFERS)

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a file: SHA-256 of the whole, the digest of each segment."""

    sha256: str
    segments: tuple[str, ...]


class ReadBack:
    """Follow the writer of `file`, which consists of segments of `sizes`; a context manager.

    Without `threads` all is done in the calls of the writer: where other processes keep the processors busy,
    handing on costs more than it wins.
    """

    # How many parts may wait to be hashed.
    _ahead = _BUFFERS

    def __init__(self, file: int, sizes: Sequence[int], *, where: str, threads: bool = True) -> None:
        self._file = file
        self._where = where
        self._position = 0
        self._sha256 = hashlib.sha256()
        self._segments = [Hasher() for _ in sizes]
        self._left = [*enumerate(sizes)][::-1]
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(min(self._ahead, -(-sum(sizes) // _PART) + 1)):
            self._free.put(_borrow())
        self._reader = _Worker(self._read, _DEPTH) if threads else _Here(self._read)
        self._hasher = _Worker(self._hash, self._ahead) if threads else _Here(self._hash)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.stop()
        self._hasher.stop()
        while not self._free.empty():
            _IDLE.append(self._free.get())

    def written(self, block: bytes | bytearray | memoryview) -> None:
        """Take note that `block`, of at most `BLOCK` bytes, was written behind what was written before."""
        self._reader.give(block)

    def finish(self) -> Found:
        """Return what lies in the file; raise `WriteError` where it is not what was given."""
        self._reader.stop()
        self._hasher.stop()
        for worker in (self._reader, self._hasher):
            if worker.error is not None:
                raise worker.error
        return Found(self._sha256.hexdigest(), tuple(segment.text() for segment in self._segments))

    def _read(self, block: bytes | bytearray | memoryview) -> None:
        whole = memoryview(block)
        for start in range(0, len(whole), _PART):
            self._read_part(whole[start : start + _PART])

    def _read_part(self, block: memoryview) -> None:
        buffer = self._free.get()
        view = memoryview(buffer)[: len(block)]
        # startswith compares with memcmp, without a copy.
        same = self._fill(view) and buffer.startswith(block)
        if same:
            self._digest_segments(view)
        self._hasher.give((buffer, len(block)))
        if not same:
            raise self.differs()

    def differs(self) -> WriteError:
        """Return the error of a file that does not hold what was written."""
        return WriteError(
            "what was read back is not what was written",
            where=self._where,
            fix="do not change tensors while they are saved; else look after the disk",
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
            index, left = self._left.pop()
            part, view = view[:left], view[left:]
            self._segments[index].update(part)
            if len(part) < left:
                self._left.append((index, left - len(part)))

    def _hash(self, filled: tuple[Any, int]) -> None:
        buffer, size = filled
        self._sha256.update(memoryview(buffer)[:size])
        self._free.put(buffer)


class _Here(Generic[_Item]):
    """Does `work` on each thing as it is given, and keeps the first error."""

    def __init__(self, work: Callable[[_Item], None]) -> None:
        self.error: BaseException | None = None
        self._work = work

    def give(self, item: _Item) -> None:
        """Do the work."""
        try:
            self._work(item)
        except Exception as e:  # raised by `finish`, as the error of a thread is
            self.error = self.error or e

    def stop(self) -> None:
        """Have nothing to wait for."""


def _borrow() -> bytearray:
    try:
        return _IDLE.pop()
    except IndexError:
        return bytearray(_PART)


class _Worker(Generic[_Item]):
    """A thread that does `work` on each thing it is given, in order, and keeps the first error."""

    def __init__(self, work: Callable[[_Item], None], depth: int) -> None:
        self.error: BaseException | None = None
        self._work = work
        self._queue: queue.Queue[_Item | None] = queue.Queue(depth)
        self._thread = threading.Thread(target=self._run, name="ckptfmt-read-back", daemon=True)
        self._thread.start()

    def give(self, item: _Item) -> None:
        """Wait until there is room, then leave the thing for the thread."""
        self._queue.put(item)

    def stop(self) -> None:
        """Wait until all is done and end the thread; stopping twice is allowed."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._work(item)
            except BaseException as e:  # raised by `finish`, in the thread that asked
                self.error = self.error or e
