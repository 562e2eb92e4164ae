"""One safetensors file, written in large parts and read back in the same pass."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ckptfmt.errors import WrongSize, printable
from ckptfmt.format.files import release
from ckptfmt.format.manifest import FileEntry, TensorEntry
from ckptfmt.format.safetensors import METADATA, TensorInfo, build_header
from ckptfmt.store.write.linux import start_writeback
from ckptfmt.store.write.readback import BLOCK, ReadBack

__all__ = ["Payload", "TensorFile", "create", "write_all", "write_tensors"]

# How much is written before the kernel is told to begin with the disk: often enough that little is left for the
# end, seldom enough that the telling costs nothing.
_WRITEBACK = 16 << 20
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


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


def write_tensors(folder: int, name: str, content: TensorFile, *, where: str, bulk: bool = False) -> FileEntry:
    """Write `content` as a new file `name`, flushed to the disk and read back; return its manifest entry.

    With `bulk` it is one of many, written by one of several processes: no threads are started, and what the
    system holds of it in memory is given back, so that thousands of files do not push out everything else.
    Raises `WriteError` where what lies in the file is not what was given, `WeightsError` where a tensor gives
    more or fewer bytes than its shape says, `OSError` for what the system refuses.
    """
    header, infos = content.layout()
    place = os.path.join(where, name)
    file = create(folder, name)
    try:
        with ReadBack(file, [len(header), *(info.nbytes for info in infos)], where=place, threads=not bulk) as back:
            waiting = 0
            for block in _blocks(header, _parts(content, infos, place)):
                write_all(file, block)
                back.written(block)
                waiting += len(block)
                if waiting >= _WRITEBACK:
                    start_writeback(file)
                    waiting = 0
            os.fsync(file)
            found = back.finish()
        if bulk:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    except BaseException:
        release(file)
        raise
    os.close(file)
    tensors = {
        info.name: TensorEntry(dtype=info.dtype, shape=info.shape, offset=info.begin, blake3=digest)
        for info, digest in zip(infos, found.segments[1:], strict=True)
    }
    size = len(header) + (infos[-1].end if infos else 0)
    return FileEntry(bytes=size, sha256=found.sha256, tensors=tensors, tied=dict(content.tied))


def _parts(content: TensorFile, infos: Iterable[TensorInfo], where: str) -> Iterator[memoryview]:
    """Yield the tensors' bytes in the order of the file, in parts of at most a block."""
    for info in infos:
        size = 0
        for chunk in content.tensors[info.name].chunks():
            whole = memoryview(chunk).cast("B")
            size += len(whole)
            yield from (whole[start : start + BLOCK] for start in range(0, len(whole), BLOCK))
        if size != info.nbytes:
            raise WrongSize(f"{printable(info.name)} gave {size:,} bytes, its shape needs {info.nbytes:,}", where=where)


def _blocks(header: bytes, parts: Iterable[memoryview]) -> Iterator[bytes | bytearray | memoryview]:
    """Yield the header and the parts, small ones gathered, so that a file of many small tensors is few writes."""
    gathered = bytearray(header) if len(header) <= BLOCK else bytearray()
    if not gathered:
        yield from (header[start : start + BLOCK] for start in range(0, len(header), BLOCK))
    for part in parts:
        large = len(part) > BLOCK // 8
        if gathered and (large or len(gathered) + len(part) > BLOCK):
            yield gathered
            gathered = bytearray()
        if large:
            yield part
        else:
            gathered += part
    if gathered:
        yield gathered
