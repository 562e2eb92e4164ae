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

__all__ = ["PART", "Encoder", "bound", "decode", "decode_into", "frame_sizes", "length_of", "pieces"]

# The format's: a frame of a replay buffer shrinks as far as the whole of it (to within 0.1 % of its size).
PART = 4 << 20
# What is decoded at once: it is compared, copied and hashed while the processor has it at hand, and the allocator gives
# the same memory again (from 128 KiB on it asks the system for new pages each time).
_STEP = 96 << 10
# A frame of that size is judged by four places of it, 16 KiB each: enough to tell pictures of a game, which shrink to
# a few percent, from mantissas, which hardly do. A smaller one is simply made.
_SAMPLES = 4
_SAMPLE = 16 << 10
_JUDGED = 1 << 20
# The level at which zstd looks for nothing: a frame takes as long as it takes to copy it, to make and to read.
_AS_IT_IS = zstd.CompressionParameter.compression_level.bounds()[0]
# Whoever wants a reader to hold more than this much of what came before is refused: 8 MiB.
_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


def frame_sizes(segments: Iterable[int]) -> Iterator[int]:
    """Return how many plain bytes each frame holds of a file that is made of `segments`: header, then tensors."""
    for size in segments:
        for begin in range(0, size, PART):
            yield min(PART, size - begin)


class Encoder:
    """Makes the frames of one file, in order, and then what comes behind them.

    A frame that would get smaller by less than the share `least` holds its bytes as they are.
    """

    def __init__(self, level: int, least: float = 0.0) -> None:
        self._least = least
        self._zstd = _compressor(level)
        self._as_it_is = _compressor(_AS_IT_IS) if least else self._zstd
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
        as_it_is = self._least and len(plain) >= _JUDGED and self.share(plain) == 1
        return _shrunk(self._as_it_is if as_it_is else self._zstd, plain)

    def share(self, plain: bytes | bytearray | memoryview) -> float:
        """Return the part of its size to which something shrinks, judged by a few places; 1 where it is too little."""
        step = max(1, len(plain) // _SAMPLES)
        samples = [plain[begin : begin + _SAMPLE] for begin in range(0, len(plain), step)]
        found = sum(len(_shrunk(self._zstd, sample)) for sample in samples) / max(1, sum(map(len, samples)))
        return found if found <= 1 - self._least else 1.0

    def end(self) -> bytes:
        """Return the guard and the seek table, which end the file."""
        return build_guard(self._digest.digest()) + build_table(self._rows)


def _compressor(level: int) -> zstd.ZstdCompressor:
    parameter = zstd.CompressionParameter
    # The checksum lets `zstd -t` check a frame, without a manifest and without this package.
    return zstd.ZstdCompressor(options={parameter.compression_level: level, parameter.checksum_flag: 1})


def _shrunk(compressor: zstd.ZstdCompressor, plain: bytes | bytearray | memoryview) -> bytes:
    # Told beforehand, the size stands in the frame and the tables are made no larger than it needs.
    compressor.set_pledged_input_size(len(plain))
    return compressor.compress(plain, compressor.FLUSH_FRAME)


def decode(frame: bytes | memoryview, size: int) -> bytearray:
    """Return the `size` plain bytes of a frame; raise `DamagedFrame` where it does not hold exactly those."""
    plain = bytearray(size)
    decode_into(frame, memoryview(plain))
    return plain


def decode_into(frame: bytes | memoryview, target: memoryview) -> None:
    """Write the plain bytes of a frame into memory of their size; raises as `decode`."""
    begin = 0
    for piece in pieces(frame, len(target)):
        target[begin : begin + len(piece)] = piece
        begin += len(piece)


def pieces(frame: bytes | memoryview, size: int) -> Iterator[bytes]:
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
