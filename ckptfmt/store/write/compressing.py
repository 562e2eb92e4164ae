"""A data file written compressed: frame by frame, each decoded again from the file and held against what was given."""

import os
from collections.abc import Iterable, Iterator, Sequence

from ckptfmt.format.datafile import DamagedFrame
from ckptfmt.format.frames import PART, Encoder, decode_into, frame_sizes
from ckptfmt.store.write.readback import Found, ReadBack, start_worker
from ckptfmt.store.write.tensorfile import TensorFile

__all__ = ["FrameReadBack", "compressed_size", "frames", "share"]

# How many frames may wait to be decoded.
_DEPTH = 6
# How many frames lie decoded: one is made while the one before it is hashed.
_DECODED = 3
# Four places of a tensor's first part, 16 KiB each: enough to tell frames, which shrink to a few percent, from
# weights, which hardly do.
_SAMPLES = 4
_SAMPLE = 16 << 10


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


def compressed_size(content: TensorFile, level: int) -> int:
    """Return how many bytes a file takes compressed; raise what reading its tensors raises."""
    arranged = header, infos = content.arranged()
    segments = [len(header), *(info.nbytes for info in infos)]
    encoder = Encoder(level)
    cut = frames(segments, content.parts(arranged, ""))
    return sum(len(encoder.frame(plain)) for plain in cut) + len(encoder.end())


def share(samples: Iterable[tuple[int, memoryview]], level: int) -> float:
    """Return the part of their size to which tensors would shrink, judged by the beginning of each.

    `samples` are (bytes of the tensor, its first bytes). It takes a fraction of the time that compressing takes.
    """
    encoder, plain, stored = Encoder(level), 0.0, 0.0
    for size, first in samples:
        step = max(1, len(first) // _SAMPLES)
        pieces = [first[begin : begin + _SAMPLE] for begin in range(0, len(first), step)]
        given = sum(map(len, pieces))
        plain += size
        stored += size * sum(len(encoder.frame(piece)) for piece in pieces) / max(1, given)
    return stored / plain if plain else 1.0


class FrameReadBack(ReadBack):
    """Follow the writer of a compressed file; what its frames decode to is compared and digested."""

    def __init__(self, file: int, sizes: Sequence[int], *, where: str, threads: bool = True) -> None:
        super().__init__(file, sizes, where=where, threads=threads)
        # Decoding takes long enough to be done beside the encoding of the next frames.
        self._decoder = start_worker(self._decode, _DEPTH) if threads else None

    @staticmethod
    def _buffers(sizes: Sequence[int]) -> Iterator[bytearray]:
        for _ in range(_DECODED):
            yield bytearray(min(PART, max(sizes, default=0)))

    def __exit__(self, *_: object) -> None:
        if self._decoder is not None:
            self._decoder.stop()
        super().__exit__()

    def frame(self, plain: bytes | bytearray | memoryview, length: int) -> None:
        """Take note that a frame of `length` bytes was written next, which holds `plain`."""
        if self._decoder is None:
            self._decode((plain, length))
        else:
            self._decoder.give((plain, length))

    def finish(self) -> Found:
        """Return what lies in the file; raise `WriteError` where it is not what was given."""
        if self._decoder is not None:
            self._decoder.finish()
        return super().finish()

    def _decode(self, given: tuple[bytes | bytearray | memoryview, int]) -> None:
        block, length = given
        stored = os.pread(self._file, length, self._position)
        self._position += length
        buffer = self._free.get()
        view = memoryview(buffer)[: len(block)]
        if not (_decodes(stored, view) and buffer.startswith(block)):
            self._free.put(buffer)
            raise self.differs()
        self._hand_on((buffer, len(block)))
        self._digest_segments(view)


def _decodes(stored: bytes, view: memoryview) -> bool:
    try:
        decode_into(stored, view)
    except DamagedFrame:
        return False
    return True
