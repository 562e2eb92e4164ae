"""The compressed form of a data file, `NAME.zst`: zstd frames cut at tensor borders, and a seek table.

`zstd -d` gives back the plain file, byte for byte. The header is a frame and each tensor is one, in parts of at
most `PART` bytes, so one tensor is read without the rest. Then come a skippable frame with the BLAKE3 of all
frames before it, and the table of the zstd seekable format. Nothing of it is believed: how many plain bytes each
frame gives follows from the manifest, and a decoder is never asked for more than one byte beyond that.
"""

import itertools
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ckptfmt.errors import MissingPackage
from ckptfmt.format.datafile import Cursor, DamagedFrame, DataFile
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.files import OpenFile, read_exactly, release
from ckptfmt.format.seektable import (
    GUARD_BYTES,
    build_guard,
    build_table,
    damaged,
    read_claimed,
    read_lengths,
    table_bytes,
)

# Python has zstd in its standard library from 3.14 on, and the backport is the same module for older ones.
_NEEDED = "zstd" if sys.version_info >= (3, 14) else "backports.zstd"
try:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
except ImportError:
    raise MissingPackage(
        f"compressed files need {_NEEDED}, which is not installed",
        fix="use a Python that was built with zstd" if _NEEDED == "zstd" else f"run: pip install {_NEEDED}",
    ) from None

__all__ = ["PART", "CompressedFile", "Encoder", "decode", "decode_into", "frame_sizes", "honest_text", "open_by_table"]

# The format's: a frame of a replay buffer shrinks as far as the whole of it (to within 0.1 % of its size).
PART = 4 << 20
# What is decoded at once: it is compared, copied and hashed while the processor has it at hand, and the allocator gives
# the same memory again (from 128 KiB on it asks the system for new pages each time).
_STEP = 96 << 10

# The word with which a safetensors file begins: the size of its header.
_HEAD = 8
# Whoever wants a reader to hold more than this much of what came before is refused: 8 MiB.
_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
# Names, shapes and digests shrink to a tenth; a file that gives a hundred times as much text is made to fill memory.
_TEXT_RATIO = 100
_TEXT_FREE = 64 << 10
# A tensor of fewer frames is decoded before threads have begun. Two of them: the caller hashes what they made.
_SEVERAL = 4
_DECODERS = 2


def frame_sizes(segments: Iterable[int]) -> Iterator[int]:
    """Return how many plain bytes each frame holds of a file that is made of `segments`: header, then tensors."""
    for size in segments:
        for begin in range(0, size, PART):
            yield min(PART, size - begin)


class Encoder:
    """Makes the frames of one file, in order, and then what comes behind them."""

    def __init__(self, level: int) -> None:
        parameter = zstd.CompressionParameter
        # The checksum lets `zstd -t` check a frame, without a manifest and without this package.
        self._zstd = zstd.ZstdCompressor(options={parameter.compression_level: level, parameter.checksum_flag: 1})
        self._digest = new_blake3()
        self._rows: list[tuple[int, int]] = []

    def frame(self, plain: bytes | bytearray | memoryview) -> bytes:
        """Return the next frame, of at most `PART` plain bytes."""
        frame = self.shrink(plain)
        self._digest.update(frame)
        self._rows.append((len(frame), len(plain)))
        return frame

    def shrink(self, plain: bytes | bytearray | memoryview) -> bytes:
        """Return a frame that is not the next one of the file, to be stored elsewhere."""
        # Told beforehand, the size stands in the frame and the tables are made no larger than it needs.
        self._zstd.set_pledged_input_size(len(plain))
        return self._zstd.compress(plain, self._zstd.FLUSH_FRAME)

    def end(self) -> bytes:
        """Return the guard and the seek table, which end the file."""
        return build_guard(self._digest.digest()) + build_table(self._rows)


def decode(frame: bytes | memoryview, size: int) -> bytearray:
    """Return the `size` plain bytes of a frame; raise `DamagedFrame` where it does not hold exactly those."""
    plain = bytearray(size)
    decode_into(frame, memoryview(plain))
    return plain


def decode_into(frame: bytes | memoryview, target: memoryview) -> None:
    """Write the plain bytes of a frame into memory of their size; raises as `decode`."""
    begin = 0
    for piece in _pieces(frame, len(target)):
        target[begin : begin + len(piece)] = piece
        begin += len(piece)


def _pieces(frame: bytes | memoryview, size: int) -> Iterator[bytes]:
    """Yield the `size` plain bytes of a frame, a little at a time and never one more; raises as `decode`."""
    decoder, left = zstd.ZstdDecompressor(options=_WINDOW), size
    while not decoder.eof:
        try:
            # One byte more than there should be: whether a frame is too long shows without decoding all it claims.
            piece = decoder.decompress(frame, max_length=min(_STEP, left + 1))
        except zstd.ZstdError:
            raise DamagedFrame("cannot be decompressed, it is damaged or asks for too much memory") from None
        frame, left = b"", left - len(piece)
        # A decoder that gives nothing and is not at its end wants input that the frame does not have.
        if left < 0 or not (piece or decoder.eof):
            break
        yield piece
    if left or not decoder.eof or decoder.unused_data:
        raise DamagedFrame("does not decompress to what the manifest says")


class CompressedFile(DataFile):
    """A compressed data file, opened; positions are those of the plain file, which is made of `segments`.

    The table is read when it is first needed.
    """

    def __init__(self, descriptor: OpenFile, stored: int, segments: Sequence[int], where: str) -> None:
        super().__init__(descriptor, sum(segments), where, stored)
        self._segments = segments
        self._frames: _Frames | None = None

    @property
    def compressed(self) -> bool:
        """Return that it is."""
        return True

    def cursor(self, position: int) -> Cursor:
        """Return a cursor at a position of the plain file."""
        return _FrameCursor(self, position)

    def fill(self, position: int, target: memoryview, taken: Callable[[memoryview], None]) -> None:
        """Read into `target`; frames of a large tensor are decoded beside one another, and taken in their order."""
        frames = self.frames()
        first = frames.locate(position)
        # A read that begins inside of a frame, or is small, goes by the cursor, which keeps what it decoded.
        if len(target) < _SEVERAL * PART or frames.begins[first] != position:
            super().fill(position, target, taken)
            return
        parts = [target[begin : begin + PART] for begin in range(0, len(target), PART)]
        with ThreadPoolExecutor(max_workers=_DECODERS) as pool:
            for part, _ in zip(parts, pool.map(self._decode, range(first, first + len(parts)), parts), strict=True):
                taken(part)

    def _decode(self, number: int, target: memoryview) -> None:
        decode_into(self._stored_frame(number), target)

    def check_layout(self) -> None:
        """Raise `WeightsError` where the seek table is not the one that the manifest makes."""
        self.frames()

    def check_stored(self) -> None:
        """Read all frames as they are stored; raise `WeightsError` where their digest is not the one behind them."""
        places, digest = self.frames().places, new_blake3()
        for begin, end in itertools.pairwise(places):
            digest.update(read_exactly(self.descriptor, begin, end - begin, where=self.where))
        if read_exactly(self.descriptor, places[-1], GUARD_BYTES, where=self.where) != build_guard(digest.digest()):
            raise damaged("its frames are not those that were written: a stored byte was changed", self.where)

    def frames(self) -> "_Frames":
        """Return where the frames lie; raise `WeightsError` where the seek table is not the one it must be."""
        if self._frames is None:
            sizes = self._sizes()
            lengths = read_lengths(self.descriptor, self.stored, sizes, self.where)
            places = [*itertools.accumulate(lengths, initial=0)]
            # A frame longer than its plain bytes can make it would be room for anything that no digest covers.
            sound = all(length <= _bound(size) for length, size in zip(lengths, sizes, strict=True))
            if not sound or places[-1] + GUARD_BYTES + table_bytes(len(sizes)) != self.stored:
                raise damaged("its seek table is not that of the tensors in the manifest", self.where)
            self._frames = _Frames(sizes, places)
        return self._frames

    def walk(self) -> None:
        """Find the frames one behind the other, for a file whose table is lost; those not found are damaged."""
        sizes, places = [], [0]
        for size in frame_sizes(self._segments):
            # No frame is longer than this, so its end is looked for no further.
            count = min(_bound(size), self.stored - places[-1])
            length = _frame_length(read_exactly(self.descriptor, places[-1], count, where=self.where))
            if not length:
                break
            sizes.append(size)
            places.append(places[-1] + length)
        self._frames = _Frames(sizes, places)

    def frame(self, number: int) -> bytearray:
        """Return the plain bytes of a frame."""
        return decode(self._stored_frame(number), self.frames().sizes[number])

    def _stored_frame(self, number: int) -> bytes:
        frames = self.frames()
        if number >= len(frames.sizes):
            raise DamagedFrame("is not there, the file was truncated", where=self.where)
        begin, end = frames.places[number : number + 2]
        return read_exactly(self.descriptor, begin, end - begin, where=self.where)

    def _sizes(self) -> list[int]:
        # Counted before they are listed: a manifest can claim any size.
        count = sum(-(-size // PART) for size in self._segments)
        if self.stored < GUARD_BYTES + table_bytes(count):
            raise damaged("is too short for its seek table, it was truncated", self.where)
        return list(frame_sizes(self._segments))


class _Frames:
    """How many plain bytes each frame gives, where it begins among them, and where in the file."""

    def __init__(self, sizes: Sequence[int], places: Sequence[int]) -> None:
        self.sizes = sizes
        self.begins = list(itertools.accumulate(sizes, initial=0))
        self.places = places

    def locate(self, position: int) -> int:
        """Return the number of the frame that holds a position of the plain file."""
        return bisect_right(self.begins, position) - 1


def honest_text(size: int, stored: int) -> bool:
    """Return whether text of so many bytes may lie in a file of `stored` ones: no header or index shrinks further."""
    return size <= _TEXT_FREE + _TEXT_RATIO * stored


def open_by_table(descriptor: int, stored: int, where: str) -> CompressedFile:
    """Return a file of which no manifest tells the frames, as its own table tells them.

    Raises `WeightsError` where it has none, the descriptor closed. What it holds is proved by nothing.
    """
    try:
        sizes = read_claimed(descriptor, stored, where)
        if any(size > PART for size in sizes):
            raise damaged("has frames larger than any of a checkpoint", where)
        file = CompressedFile(descriptor, stored, sizes, where)
        header = int.from_bytes(file.read(0, _HEAD), "little") if file.size >= _HEAD else 0
        # One that is larger than the file is refused by whoever parses it, in its own words.
        if header <= file.size and not honest_text(header, stored):
            raise damaged("claims a header that does not fit into it", where)
        return file
    except BaseException:
        release(descriptor)
        raise


class _FrameCursor(Cursor):
    """Reads on from a position, frame by frame; holds one frame."""

    _file: CompressedFile

    def __init__(self, file: CompressedFile, position: int) -> None:
        super().__init__(file, position)
        self._left = memoryview(b"")

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0:
            part = self._some(size)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def fill(self, target: memoryview) -> None:
        while target:
            part = self._some(len(target))
            target[: len(part)] = part
            target = target[len(part) :]

    def _some(self, size: int) -> memoryview:
        """Return some of the next `size` bytes."""
        if not self._left:
            if self._position >= self._file.size:
                raise damaged("ends too early, it was truncated", self._file.where)
            frames = self._file.frames()
            number = frames.locate(self._position)
            self._left = memoryview(self._file.frame(number))[self._position - frames.begins[number] :]
        part, self._left = self._left[:size], self._left[size:]
        self._position += len(part)
        return part


def _bound(size: int) -> int:
    """Return how many bytes a frame of `size` plain bytes takes at most, with room for what other encoders add."""
    # More than ZSTD_COMPRESSBOUND, which is size / 256 and a constant beyond the size.
    return size + (size >> 7) + 512


def _frame_length(stored: bytes) -> int:
    """Return how many of the `stored` bytes are the frame that they begin with; 0 where they begin with none."""
    try:
        return int(zstd.get_frame_size(stored))
    except zstd.ZstdError:
        return 0
