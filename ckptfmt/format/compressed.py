"""The compressed form of a data file, `NAME.zst`: zstd frames cut at tensor borders, and a seek table.

`zstd -d` gives back the plain file, byte for byte. The header is a frame and each tensor is one, in parts of at
most `PART` bytes, so one tensor is read without the rest. Then come a skippable frame with the BLAKE3 of all
frames before it, and the table of the zstd seekable format. Nothing of it is believed: how many plain bytes each
frame gives follows from the manifest, and a decoder is never asked for more than one byte beyond that.
"""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ckptfmt.format.datafile import Cursor, DamagedFrame, DataFile
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.files import OpenFile, read_exactly, release
from ckptfmt.format.frames import PART, bound, decode, decode_into, frame_sizes, length_of
from ckptfmt.format.seektable import GUARD_BYTES, build_guard, damaged, read_claimed, read_lengths, table_bytes

__all__ = ["CompressedFile", "honest_text", "open_by_table"]

# The word with which a safetensors file begins: the size of its header.
_HEAD = 8
# Names, shapes and digests shrink to a tenth; a file that gives a hundred times as much text is made to fill memory.
_TEXT_RATIO = 100
_TEXT_FREE = 64 << 10
# A tensor of fewer frames is decoded before threads have begun. Two of them: the caller hashes what they made.
_SEVERAL = 4
_DECODERS = 2


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
            sound = all(length <= bound(size) for length, size in zip(lengths, sizes, strict=True))
            if not sound or places[-1] + GUARD_BYTES + table_bytes(len(sizes)) != self.stored:
                raise damaged("its seek table is not that of the tensors in the manifest", self.where)
            self._frames = _Frames(sizes, places)
        return self._frames

    def walk(self) -> None:
        """Find the frames one behind the other, for a file whose table is lost; those not found are damaged."""
        sizes, places = [], [0]
        for size in frame_sizes(self._segments):
            # No frame is longer than this, so its end is looked for no further.
            count = min(bound(size), self.stored - places[-1])
            length = length_of(read_exactly(self.descriptor, places[-1], count, where=self.where))
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
