"""Safetensors files, written in large parts and read back in the same pass; where it pays, compressed."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from ckptfmt.format.files import compressed_name, release
from ckptfmt.format.manifest import FileEntry, TensorEntry
from ckptfmt.store.write.held import note_made
from ckptfmt.store.write.linux import start_writeback
from ckptfmt.store.write.readback import BLOCK, FileHasher, ReadBack
from ckptfmt.store.write.tensorfile import Arranged, Compression, TensorFile

__all__ = ["create", "write_all", "write_files"]

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


def write_files(
    folder: int,
    files: Mapping[str, TensorFile],
    *,
    where: str,
    bulk: bool = False,
    arranged: dict[str, Arranged] | None = None,
) -> dict[str, FileEntry]:
    """Write `files` as new ones, by their names, flushed to the disk and read back; return their manifest entries.

    With `bulk` they are some of many, written by one of several processes: no threads are started, and what the
    system holds of them in memory is given back, so that thousands of files do not push out everything else.
    `arranged` is how they lie, where the caller knows; it is used up. Raises `WriteError` where what lies in a file is
    not what was given, `WeightsError` where a tensor gives more or fewer bytes than its shape says, `OSError` for what
    the system refuses.
    """
    waiting = {name: file.arranged() for name, file in files.items()} if arranged is None else arranged
    with FileHasher(threads=not bulk) as hasher:
        # The largest first: its digest goes on while what takes longer to compress is made.
        order = sorted(files, key=lambda name: -_size(waiting[name]))
        written = {name: _write(folder, name, files[name], waiting.pop(name), hasher, where, bulk) for name in order}
        hasher.finish()
        return {name: written[name][1](written[name][0].sha256()) for name in files}


def _write(
    folder: int, name: str, content: TensorFile, arranged: Arranged, hasher: FileHasher, where: str, bulk: bool
) -> tuple[ReadBack, Callable[[str], FileEntry]]:
    """Write a file; return who knows its SHA-256 in the end, and what makes the entry of it."""
    _, infos = arranged
    back = None
    if content.compression is not None:
        back = _write_compressed(folder, name, content, arranged, content.compression, hasher, where, bulk)
    if back is None:
        back = _write_plain(folder, name, content, arranged, hasher, where, bulk)
    tensors = {
        info.name: TensorEntry(
            dtype=info.dtype, shape=info.shape, offset=info.begin, digest=digest, slice=content.slices.get(info.name)
        )
        for info, digest in zip(infos, back.segments[1:], strict=True)
    }
    size = _size(arranged)
    return back, lambda sha256: FileEntry(bytes=size, sha256=sha256, tensors=tensors, tied=dict(content.tied))


def _size(arranged: Arranged) -> int:
    header, infos = arranged
    return len(header) + (infos[-1].end if infos else 0)


def _write_plain(
    folder: int, name: str, content: TensorFile, arranged: Arranged, hasher: FileHasher, where: str, bulk: bool
) -> ReadBack:
    header, infos = arranged
    place = os.path.join(where, name)
    with _created(folder, name, bulk) as file:
        back = ReadBack(file, [len(header), *(info.nbytes for info in infos)], hasher, where=place)
        write = _writer(file)
        for block in _blocks(header, content.body(infos, place)):
            write(block)
            back.written(block)
        os.fsync(file)
    return back


def _write_compressed(
    folder: int,
    name: str,
    content: TensorFile,
    arranged: Arranged,
    how: Compression,
    hasher: FileHasher,
    where: str,
    bulk: bool,
) -> ReadBack | None:
    """Write the compressed form; return None, nothing left, where the file does not get small enough."""
    # The one import that waits: only who compresses needs zstd.
    from ckptfmt.format.frames import Encoder
    from ckptfmt.store.write.compressing import FrameReadBack, frames, share

    header, infos = arranged
    segments = [len(header), *(info.nbytes for info in infos)]
    most = how.most(sum(segments))
    # Judged by samples first: to compress a file and throw it away takes longer than to write it plain.
    if how.least and share(content.samples(infos), how) * sum(segments) > most:
        return None
    packed = compressed_name(name)
    place = os.path.join(where, packed)
    encoder, written = Encoder(how.level, how.least), 0
    with _created(folder, packed, bulk) as file:
        back = FrameReadBack(file, segments, hasher, where=place)
        write = _writer(file)
        for plain in frames(segments, content.parts(arranged, place)):
            stored = encoder.frame(plain)
            write(stored)
            back.frame(plain, len(stored))
            written += len(stored)
            if written > most:
                break
        back.end()
        end = encoder.end()
        if written + len(end) <= most:
            write_all(file, end)
            os.fsync(file)
            # One byte more than was written shows a file that is too long.
            if os.pread(file, len(end) + 1, written) != end:
                raise back.differs()
            return back
        os.unlink(packed, dir_fd=folder)
    return None


def _writer(file: int) -> Callable[[bytes | bytearray | memoryview], None]:
    """Return what writes a part of a file and now and then tells the kernel to begin with the disk."""
    waiting = 0

    def write(part: bytes | bytearray | memoryview) -> None:
        nonlocal waiting
        write_all(file, part)
        waiting += len(part)
        if waiting >= _WRITEBACK:
            start_writeback(file)
            waiting = 0

    return write


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
