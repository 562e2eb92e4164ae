"""The table of the zstd seekable format, with which a compressed file ends, and the guard before it.

A row tells of each frame how many bytes it takes and how many it gives. The guard is a skippable frame with the BLAKE3
of all frames before it. Other readers insist that the table covers the file, so it has a row too, a frame of nothing.
"""

import struct
from collections.abc import Sequence

from ckptfmt.errors import WeightsError
from ckptfmt.format.files import OpenFile, read_exactly

__all__ = ["GUARD_BYTES", "build_guard", "build_table", "damaged", "read_claimed", "read_lengths", "table_bytes"]

# https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md
_ROW = struct.Struct("<II")
# Two of the sixteen numbers that begin a frame which decoders skip, and the one that ends the file.
_SKIPPABLE, _TABLE, _FOOTER = 0x184D2A50, 0x184D2A5E, 0x8F92EAB1
_FOOT = struct.Struct("<IBI")
# A BLAKE3.
_DIGEST_BYTES = 32
GUARD_BYTES = _ROW.size + _DIGEST_BYTES


def build_guard(digest: bytes) -> bytes:
    """Return the guard of the frames that have a digest."""
    return _ROW.pack(_SKIPPABLE, _DIGEST_BYTES) + digest


def build_table(rows: Sequence[tuple[int, int]]) -> bytes:
    """Return the table of frames and of the guard behind them."""
    body = b"".join(_ROW.pack(*row) for row in rows) + _ROW.pack(GUARD_BYTES, 0)
    # The 0 says that rows have no checksums: the frames have their own.
    foot = _FOOT.pack(len(rows) + 1, 0, _FOOTER)
    return _ROW.pack(_TABLE, len(body) + len(foot)) + body + foot


def table_bytes(frames: int) -> int:
    """Return how many bytes the table of so many frames takes."""
    # A row for each frame and one for the guard; the head of the skippable frame is as long as a row.
    return _ROW.size * (frames + 2) + _FOOT.size


def read_lengths(file: OpenFile, stored: int, sizes: Sequence[int], where: str) -> list[int]:
    """Return how many bytes each frame takes of a file whose frames give `sizes`; raise `WeightsError` for any other.

    The table is rebuilt and compared, so no bit of it is free.
    """
    length = table_bytes(len(sizes))
    table = read_exactly(file, stored - length, length, where=where)
    lengths = [taken for taken, _ in _rows(table)]
    if table != build_table([*zip(lengths, sizes, strict=True)]):
        raise damaged("its seek table is not that of the tensors in the manifest", where)
    return lengths


def read_claimed(file: OpenFile, stored: int, where: str) -> list[int]:
    """Return how many bytes each frame gives, as the table itself claims; raise `WeightsError` where there is none."""
    foot = read_exactly(file, max(0, stored - _FOOT.size), min(stored, _FOOT.size), where=where)
    count = _FOOT.unpack(foot)[0] if len(foot) == _FOOT.size else 0
    length = table_bytes(count - 1)
    if count < 1 or length > stored:
        raise damaged("has no seek table, it was truncated or is no compressed file of a checkpoint", where)
    return [size for _, size in _rows(read_exactly(file, stored - length, length, where=where))]


def _rows(table: bytes) -> list[tuple[int, int]]:
    """Return the rows of a table, but for the guard's."""
    return [*_ROW.iter_unpack(table[_ROW.size : -_FOOT.size])][:-1]


def damaged(what: str, where: str) -> WeightsError:
    """Return the error of a compressed file that is not as it was written."""
    return WeightsError(what, where=where, fix="copy it again or re-save it", code="weights.stored")
