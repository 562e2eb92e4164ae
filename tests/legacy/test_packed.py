import bz2
import gzip
import lzma
import os
import zlib

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.packed import packing, unpack

KINDS = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
DATA = os.urandom(3000) + bytes(3_000_000) + b"end"


def whole(data: bytes, kind: str) -> bytes:
    return b"".join(unpack(MemoryBlock(data), kind))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_packed_comes_back(kind):
    packed = KINDS[kind](DATA)
    assert packing(packed[:16]) == kind
    assert whole(packed, kind) == DATA
    assert all(len(piece) <= 1 << 20 for piece in unpack(MemoryBlock(packed), kind))


@pytest.mark.parametrize("kind", KINDS)
def test_streams_behind_each_other_are_one_content(kind):
    assert whole(KINDS[kind](b"one") + KINDS[kind](b"") + KINDS[kind](b"two"), kind) == b"onetwo"


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_behind_the_end_are_refused(kind):
    with pytest.raises(SourceError) as error:
        whole(KINDS[kind](b"one") + b"\0", kind)
    assert str(error.value) == f"has bytes behind the end of its {kind} data; copy or download it again"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_is_cut_short_is_refused(kind):
    packed = KINDS[kind](os.urandom(1000))
    for length in (len(packed) - 1, len(packed) // 2, 12):
        with pytest.raises(SourceError) as error:
            whole(packed[:length], kind)
        assert error.value.what == f"ends in the middle of its {kind} data"
        assert error.value.code == "source.truncated"


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_noticed(kind):
    packed = bytearray(KINDS[kind](os.urandom(1000)))
    packed[500] ^= 1
    with pytest.raises(SourceError, match=f"is damaged inside its {kind} data"):
        whole(bytes(packed), kind)


def test_a_gzip_checksum_is_checked():
    packed = bytearray(gzip.compress(b"weights"))
    packed[-8] ^= 1
    with pytest.raises(SourceError, match="is damaged inside its gzip data: Error -3"):
        whole(bytes(packed), "gzip")


def test_a_header_that_asks_for_much_memory_is_refused():
    packed = lzma.compress(b"weights", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}])
    with pytest.raises(SourceError, match="is damaged inside its xz data: Memory usage limit exceeded"):
        whole(packed, "xz")


def test_other_data_is_not_taken_for_packed():
    assert packing(zlib.compress(b"x")) == packing(b"PK\x03\x04") == packing(b"") == ""
