"""A data file written compressed: frame by frame, each decoded again from the file and held against what was given."""

import os
from collections.abc import Iterable, Iterator, Sequence

from ckptfmt.format.datafile import DamagedFrame
from ckptfmt.format.frames import Encoder, frame_sizes, pieces
from ckptfmt.store.write.readback import PART, FileHasher, ReadBack
from ckptfmt.store.write.tensorfile import Compression, TensorFile

__all__ = ["FrameReadBack", "compressed_size", "frames", "share"]


def frames(segments: Sequence[int], parts: Iterable[memoryview]) -> Iterator[bytes | bytearray | memoryview]:
    """Cut the bytes of a file, in parts that cross no border of `segments`, into what its frames hold."""
    sizes = frame_sizes(segments)
    wanted, gathered = 0, bytearray()
    for part in parts:
        rest = part
        while rest:
            wanted = wanted or next(sizes)
            if not gathered and len(rest) >= wanted:
                taken, rest, wanted = rest[:wanted], rest[wanted:], 0
                yield taken
                continue
            taken, rest = rest[: wanted - len(gathered)], rest[wanted - len(gathered) :]
            gathered += taken
            if len(gathered) == wanted:
                yield gathered
                wanted, gathered = 0, bytearray()


def compressed_size(content: TensorFile, how: Compression) -> int:
    """Return how many bytes a file takes compressed; raise what reading its tensors raises."""
    arranged = header, infos = content.arranged()
    segments = [len(header), *(info.nbytes for info in infos)]
    encoder = Encoder(how.level, how.least)
    cut = frames(segments, content.parts(arranged, ""))
    return sum(len(encoder.frame(plain)) for plain in cut) + len(encoder.end())


def share(samples: Iterable[tuple[int, memoryview]], how: Compression) -> float:
    """Return the part of their size to which tensors would shrink, judged by the beginning of each.

    `samples` are (bytes of the tensor, its first bytes). It takes a fraction of the time that compressing takes.
    """
    encoder, plain, stored = Encoder(how.level, how.least), 0, 0.0
    for size, first in samples:
        plain += size
        stored += size * encoder.share(first)
    return stored / plain if plain else 1.0


class FrameReadBack(ReadBack):
    """Follow the writer of a compressed file; what its frames decode to is compared and digested."""

    def __init__(self, file: int, sizes: Sequence[int], hasher: FileHasher, *, where: str) -> None:
        super().__init__(file, sizes, hasher, where=where)
        self._gathered: bytearray | None = None
        self._size = 0

    def frame(self, plain: bytes | bytearray | memoryview, length: int) -> None:
        """Decode the frame of `length` bytes that was written next; raise `WriteError` if it does not hold `plain`."""
        stored = os.pread(self._file, length, self._position)
        self._position += length
        rest = memoryview(plain)
        try:
            # A piece is compared and hashed while the processor has it at hand.
            for piece in pieces(stored, len(plain)):
                if not piece.startswith(rest[: len(piece)]):
                    raise self.differs()
                rest = rest[len(piece) :]
                view = memoryview(piece)
                self._digest_segments(view)
                self._gather(view)
        except DamagedFrame:
            raise self.differs() from None

    def end(self) -> None:
        """Take note that there is no further frame."""
        if self._gathered is not None:
            self._hasher.give(self._sha256, self._gathered, self._size)
            self._gathered = None

    def _gather(self, view: memoryview) -> None:
        """Put plain bytes together until it is worth handing them on."""
        while view:
            if self._gathered is None:
                self._gathered, self._size = self._hasher.buffer(), 0
            part, view = view[: PART - self._size], view[PART - self._size :]
            self._gathered[self._size : self._size + len(part)] = part
            self._size += len(part)
            if self._size == PART:
                self.end()
