"""Compressed files: gzip, bzip2 and xz around something else."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.blocks import Block, pieces

__all__ = ["FEED", "Inflater", "Unpacker", "one_stream", "packing", "unpack"]

# What is read and what is unpacked at once: the first bounds the second by the packing's greatest ratio.
FEED = 256 << 10
_OUT = 1 << 20
# `xz -9` needs 65 MiB; a header may ask for gigabytes.
_XZ_MEMORY = 80 << 20


class Unpacker(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool:
        """Return whether the end of the compressed stream was seen."""

    @property
    def unused_data(self) -> bytes:
        """Return the bytes behind that end."""

    def decompress(self, data: bytes, size: int) -> bytes:
        """Return at most `size` bytes; what is left of `data` is kept for the next call."""


class Inflater:
    """zlib's decompressor with the manner of the other two, which keep what they were given."""

    def __init__(self, wbits: int) -> None:
        self._inflater = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        """Return whether the end of the compressed stream was seen."""
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        """Return the bytes behind that end."""
        return self._inflater.unused_data

    def decompress(self, data: bytes, size: int) -> bytes:
        """Return at most `size` bytes; what is left of `data` is kept for the next call."""
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, size)


_KINDS: dict[str, tuple[bytes, Callable[[], Unpacker]]] = {
    # 16 tells zlib that gzip's header and checksum are around the data.
    "gzip": (b"\x1f\x8b\x08", lambda: Inflater(zlib.MAX_WBITS | 16)),
    "bz2": (b"BZh", bz2.BZ2Decompressor),
    "xz": (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)),
}


def packing(head: bytes) -> str:
    """Return which of "gzip", "bz2" and "xz" the first bytes of a file say, or ""."""
    return next((kind for kind, (magic, _) in _KINDS.items() if head.startswith(magic)), "")


def unpack(block: Block, kind: str) -> Iterator[bytes]:
    """Yield what a compressed block holds, in parts of at most 1 MiB.

    Several compressed streams behind each other are one content, as the three formats say; anything else behind
    a stream is refused. Checksums are those of the format. Raises `SourceError`.
    """
    magic, make = _KINDS[kind]
    feeds = pieces(block, FEED)
    rest = next(feeds, b"")
    while rest:
        # The magic of the next stream may lie across two parts.
        rest += next(feeds, b"") if len(rest) < len(magic) else b""
        if not rest.startswith(magic):
            _refuse(f"has bytes behind the end of its {kind} data")
        unpacker = make()
        yield from one_stream(unpacker, rest, feeds, kind)
        rest = unpacker.unused_data or next(feeds, b"")


def one_stream(unpacker: Unpacker, data: bytes, feeds: Iterator[bytes], kind: str) -> Iterator[bytes]:
    """Yield what one compressed stream holds, which begins with `data` and goes on with `feeds`.

    Raises `SourceError` for a stream that is damaged or cut short.
    """
    while not unpacker.eof:
        out = _decompress(unpacker, data, kind)
        yield out
        # Less than was asked for means that all input is used up.
        starving = len(out) < _OUT and not unpacker.eof
        data = next(feeds, b"") if starving else b""
        if starving and not data:
            _refuse(f"ends in the middle of its {kind} data", "source.truncated")


def _decompress(unpacker: Unpacker, data: bytes, kind: str) -> bytes:
    try:
        return unpacker.decompress(data, _OUT)
    except (zlib.error, OSError, lzma.LZMAError) as e:
        _refuse(f"is damaged inside its {kind} data: {e}")


def _refuse(what: str, code: str = "source.damaged") -> NoReturn:
    raise SourceError(what, fix="copy or download it again", code=code)
