"""Frames of zstd, made and decoded: parts of a file's plain bytes, each by itself, in bounded memory."""

import sys
from collections.abc import Iterable, Iterator

from ckptfmt.errors import MissingPackage
from ckptfmt.format.datafile import DamagedFrame
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.seektable import build_guard, build_table

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

__all__ = ["PART", "Encoder", "bound", "decode", "decode_into", "frame_sizes", "length_of"]

# The format's: a frame of a replay buffer shrinks as far as the whole of it (to within 0.1 % of its size).
PART = 4 << 20
# What is decoded at once: it is compared, copied and hashed while the processor has it at hand, and the allocator gives
# the same memory again (from 128 KiB on it asks the system for new pages each time).
_STEP = 96 << 10
# Whoever wants a reader to hold more than this much of what came before is refused: 8 MiB.
_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


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


def bound(size: int) -> int:
    """Return how many bytes a frame of `size` plain bytes takes at most, with room for what other encoders add."""
    # More than ZSTD_COMPRESSBOUND, which is size / 256 and a constant beyond the size.
    return size + (size >> 7) + 512


def length_of(stored: bytes) -> int:
    """Return how many of the `stored` bytes are the frame that they begin with; 0 where they begin with none."""
    try:
        return int(zstd.get_frame_size(stored))
    except zstd.ZstdError:
        return 0
