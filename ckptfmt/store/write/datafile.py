"""One safetensors file, written in large parts and read back in the same pass; where it pays, compressed."""

import contextlib
import os
from collections.abc import Iterable, Iterator

from ckptfmt.format.files import compressed_name, release
from ckptfmt.format.manifest import FileEntry, TensorEntry
from ckptfmt.store.write.held import note_made
from ckptfmt.store.write.linux import start_writeback
from ckptfmt.store.write.readback import BLOCK, Found, ReadBack
from ckptfmt.store.write.tensorfile import Arranged, Compression, TensorFile

__all__ = ["create", "write_all", "write_tensors"]

# How much is written before the kernel is told to begin with the disk: often enough that little is left for the
# end, seldom enough that the telling costs nothing.
_WRITEBACK = 4 << 20
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(folder: int, name: str) -> int:
    """Return a descriptor of a new file `name`, for writing and reading back, its mode that of the umask."""
    # Of which the umask takes its part, as of every file that a program makes.
    file = os.open(name, _CREATE, 0o666, dir_fd=folder)
    note_made(folder, file)
    return file


def write_all(file: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data` at the file's position, however little each call takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def write_tensors(
    folder: int,
    name: str,
    content: TensorFile,
    *,
    where: str,
    bulk: bool = False,
    arranged: Arranged | None = None,
) -> FileEntry:
    """Write `content` as a new file `name`, flushed to the disk and read back; return its manifest entry.

    With `bulk` it is one of many, written by one of several processes: no threads are started, and what the
    system holds of it in memory is given back, so that thousands of files do not push out everything else.
    `arranged` is how `content` lies in the file, where the caller knows. Raises `WriteError` where what lies in the
    file is not what was given, `WeightsError` where a tensor gives more or fewer bytes than its shape says, `OSError`
    for what the system refuses.
    """
    arranged = header, infos = arranged or content.arranged()
    found = None
    if content.compression is not None:
        found = _write_compressed(folder, name, content, arranged, content.compression, where, bulk)
    if found is None:
        found = _write_plain(folder, name, content, arranged, where, bulk)
    tensors = {
        info.name: TensorEntry(
            dtype=info.dtype, shape=info.shape, offset=info.begin, digest=digest, slice=content.slices.get(info.name)
        )
        for info, digest in zip(infos, found.segments[1:], strict=True)
    }
    size = len(header) + (infos[-1].end if infos else 0)
    return FileEntry(bytes=size, sha256=found.sha256, tensors=tensors, tied=dict(content.tied))


def _write_plain(folder: int, name: str, content: TensorFile, arranged: Arranged, where: str, bulk: bool) -> Found:
    header, infos = arranged
    place = os.path.join(where, name)
    with _created(folder, name, bulk) as file:
        segments = [len(header), *(info.nbytes for info in infos)]
        with ReadBack(file, segments, where=place, threads=not bulk) as back:
            waiting = 0
            for block in _blocks(header, content.body(infos, place)):
                write_all(file, block)
                back.written(block)
                waiting += len(block)
                if waiting >= _WRITEBACK:
                    start_writeback(file)
                    waiting = 0
            os.fsync(file)
            return back.finish()


def _write_compressed(
    folder: int, name: str, content: TensorFile, arranged: Arranged, how: Compression, where: str, bulk: bool
) -> Found | None:
    """Write the compressed form; return None, nothing left, where the file does not get small enough."""
    # The one import that waits: only who compresses needs zstd.
    from ckptfmt.format.frames import Encoder
    from ckptfmt.store.write.compressing import FrameReadBack, frames, share

    header, infos = arranged
    segments = [len(header), *(info.nbytes for info in infos)]
    most = how.most(sum(segments))
    # Judged by samples first: to compress a file and throw it away takes longer than to write it plain.
    if how.least and share(content.samples(infos), how.level) * sum(segments) > most:
        return None
    packed = compressed_name(name)
    place = os.path.join(where, packed)
    encoder, written = Encoder(how.level), 0
    with _created(folder, packed, bulk) as file:
        with FrameReadBack(file, segments, where=place, threads=not bulk) as back:
            for plain in frames(segments, content.parts(arranged, place)):
                stored = encoder.frame(plain)
                write_all(file, stored)
                back.frame(plain, len(stored))
                written += len(stored)
                if written > most:
                    break
            end = encoder.end()
            if written + len(end) <= most:
                write_all(file, end)
                os.fsync(file)
                found = back.finish()
                # One byte more than was written shows a file that is too long.
                if os.pread(file, len(end) + 1, written) != end:
                    raise back.differs()
                return found
        os.unlink(packed, dir_fd=folder)
    return None


@contextlib.contextmanager
def _created(folder: int, name: str, bulk: bool) -> Iterator[int]:
    """Give the descriptor of a new file; its close counts, except after an error."""
    file = create(folder, name)
    try:
        yield file
        if bulk:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    except BaseException:
        release(file)
        raise
    os.close(file)


def _blocks(header: bytes, parts: Iterable[memoryview]) -> Iterator[bytes | bytearray | memoryview]:
    """Yield the header and the parts, small ones gathered, so that a file of many small tensors is few writes."""
    gathered = bytearray(header) if len(header) <= BLOCK else bytearray()
    if not gathered:
        yield from (header[start : start + BLOCK] for start in range(0, len(header), BLOCK))
    for part in parts:
        # To copy an eighth of a block costs less than a write of its own; more than that goes as it is.
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
