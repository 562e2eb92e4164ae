"""One safetensors file, written and read back in the same pass.

While the caller's thread digests and writes the tensors, a second one reads what was written and digests it:
SHA-256 is taken of what lies in the file, and each tensor's BLAKE3 must be that of the bytes that were given.
So a write that lied about its length, a filesystem that lost a part, and a tensor that changed while it was
written are found before anybody can see the file.
"""

import hashlib
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from ckptfmt.digest import new_blake3, tensor_digest
from ckptfmt.errors import WeightsError, WriteError, printable
from ckptfmt.header import METADATA, TensorInfo, build_header
from ckptfmt.manifest import FileEntry, TensorEntry

__all__ = ["Payload", "TensorFile", "create", "write_all", "write_tensors"]

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Smaller parts are gathered, larger ones split: a writer holds three blocks at most, whatever the tensors' sizes.
_BLOCK = 8 << 20


class Payload(Protocol):
    """A tensor about to be stored: its dtype (a safetensors name), its shape, its bytes in parts."""

    @property
    def dtype(self) -> str:
        """Return the safetensors name of the dtype."""

    @property
    def shape(self) -> Sequence[int]:
        """Return the dimensions."""

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Return the bytes, row-major and little-endian, in parts."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """What goes into one safetensors file; `tied` maps names that are not stored to the stored name they share."""

    tensors: Mapping[str, Payload]
    tied: Mapping[str, str] = field(default_factory=dict)

    def layout(self) -> tuple[bytes, tuple[TensorInfo, ...]]:
        """Return the header's bytes and where each tensor lies behind it."""
        return build_header(((name, p.dtype, tuple(p.shape)) for name, p in self.tensors.items()), METADATA)


def create(folder: int, name: str) -> int:
    """Return a descriptor of a new file `name`, for writing and reading back, its mode that of the umask."""
    return os.open(name, _CREATE, 0o666, dir_fd=folder)


def write_all(file: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data` at the file's position, however little each call takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def write_tensors(folder: int, name: str, content: TensorFile, *, where: str) -> FileEntry:
    """Write `content` as a new file `name`, flushed to the disk and read back; return its manifest entry.

    Raises `WriteError` where what lies in the file is not what was given, `WeightsError` where a tensor gives
    more or fewer bytes than its shape says, `OSError` for what the system refuses.
    """
    header, infos = content.layout()
    place = os.path.join(where, name)
    file = create(folder, name)
    try:
        with _ReadBack(file, [len(header), *(info.end - info.begin for info in infos)]) as back:
            given = [tensor_digest(header)]
            _write(file, header, _tensor_blocks(content, infos, given, place), back)
            os.fsync(file)
            found = back.finish()
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    if found.digests != given:
        raise WriteError(
            "what was read back is not what was written",
            where=place,
            fix="do not change tensors while they are saved; else look after the disk",
            code="write.read-back",
        )
    tensors = {
        info.name: TensorEntry(dtype=info.dtype, shape=info.shape, offset=info.begin, blake3=digest)
        for info, digest in zip(infos, found.digests[1:], strict=True)
    }
    size = len(header) + (infos[-1].end if infos else 0)
    return FileEntry(bytes=size, sha256=found.sha256, tensors=tensors, tied=dict(content.tied))


def _tensor_blocks(
    content: TensorFile, infos: Iterable[TensorInfo], given: list[str], where: str
) -> Iterator[bytes | memoryview]:
    """Yield the tensors' bytes in the order of the file, and append the digest of each to `given`."""
    for info in infos:
        hasher, size = new_blake3(), 0
        for chunk in content.tensors[info.name].chunks():
            whole = memoryview(chunk).cast("B")
            for start in range(0, len(whole), _BLOCK):
                part = whole[start : start + _BLOCK]
                hasher.update(part)
                size += len(part)
                yield part
        if size != info.nbytes:
            raise WeightsError(
                f"{printable(info.name)} gave {size:,} bytes, its shape needs {info.nbytes:,}",
                where=where,
                code="weights.size",
            )
        given.append(hasher.hexdigest())


def _write(file: int, header: bytes, blocks: Iterable[bytes | memoryview], back: "_ReadBack") -> None:
    """Write the header and all blocks, small ones together, and tell the reader how far the file goes."""
    gathered, position = bytearray(header), 0
    for block in blocks:
        if len(gathered) + len(block) > _BLOCK:
            write_all(file, gathered)
            position += len(gathered)
            gathered = bytearray()
        if len(block) >= _BLOCK // 8:
            if gathered:
                write_all(file, gathered)
            write_all(file, block)
            position += len(gathered) + len(block)
            gathered = bytearray()
            back.written(position)
        else:
            gathered += block
    write_all(file, gathered)
    back.written(position + len(gathered))


@dataclass(frozen=True, slots=True)
class _Found:
    sha256: str
    digests: list[str]


class _ReadBack:
    """A thread that reads a file as it grows and digests it: SHA-256 of all, BLAKE3 of each of its segments."""

    def __init__(self, file: int, sizes: Sequence[int]) -> None:
        self._file = file
        self._sizes = sizes
        self._ends: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._found: _Found | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ckptfmt-read-back", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.put(None)
        self._thread.join()

    def written(self, end: int) -> None:
        """Let the reader go on up to `end`."""
        self._ends.put(end)

    def finish(self) -> _Found:
        """Return what lies in the file; raise what went wrong while it was read."""
        self._ends.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found

    def _run(self) -> None:
        try:
            self._found = self._read()
        except BaseException as e:  # handed to the thread that asked
            self._error = e

    def _read(self) -> _Found:
        whole, digests = hashlib.sha256(), []
        blocks = self._blocks()
        block = memoryview(b"")
        for size in self._sizes:
            hasher = new_blake3()
            while size:
                block = block or next(blocks, memoryview(b""))
                if not block:
                    break
                part, block = block[:size], block[size:]
                hasher.update(part)
                whole.update(part)
                size -= len(part)
            digests.append(hasher.hexdigest())
        return _Found(whole.hexdigest(), digests)

    def _blocks(self) -> Iterator[memoryview]:
        """Yield what lies in the file, as far as it is written; ends early where the file does."""
        buffer = memoryview(bytearray(min(_BLOCK, max(1, sum(self._sizes)))))
        position = 0
        while (end := self._ends.get()) is not None:
            while position < end:
                count = os.preadv(self._file, [buffer[: end - position]], position)
                if not count:
                    return
                position += count
                yield buffer[:count]
