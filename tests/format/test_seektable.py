import os
import struct

import pytest

from ckptfmt.errors import WeightsError
from ckptfmt.format.seektable import GUARD_BYTES, build_guard, build_table, read_claimed, read_lengths, table_bytes

ROWS = [(70, 64), (19, 0), (5, 4 << 20)]
SIZES = [size for _, size in ROWS]


@pytest.fixture
def written(tmp_path):
    """Writes bytes and gives (descriptor, how many they are)."""
    descriptor = os.open(tmp_path / "f.zst", os.O_RDWR | os.O_CREAT)

    def write(data):
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)
        return descriptor, len(data)

    yield write
    os.close(descriptor)


def test_the_guard_is_a_skippable_frame_with_a_row_of_its_own():
    guard, table = build_guard(b"d" * 32), build_table(ROWS)
    assert guard == struct.pack("<II", 0x184D2A50, 32) + b"d" * 32
    assert len(guard) == GUARD_BYTES
    assert len(table) == table_bytes(len(ROWS))
    assert table[8:-9] == b"".join(struct.pack("<II", *row) for row in [*ROWS, (GUARD_BYTES, 0)])


def test_what_was_built_is_read_for_the_sizes_it_was_built_for_and_no_others(written):
    file = written(b"frames" + build_table(ROWS))
    assert read_claimed(*file, "f") == SIZES
    assert read_lengths(*file, SIZES, "f") == [70, 19, 5]
    with pytest.raises(WeightsError) as caught:
        read_lengths(*file, [64, 1, 4 << 20], "f")
    assert (
        str(caught.value) == "f: its seek table is not that of the tensors in the manifest; copy it again or re-save it"
    )


def test_every_flipped_bit_of_a_table_is_found(written):
    table = build_table(ROWS)
    for position in range(8 * len(table)):
        # But for the lengths of the frames: where those lie is held against the size of the file.
        if 8 <= position // 8 < 8 * (len(ROWS) + 1) and position // 8 % 8 < 4:
            continue
        spoilt = bytearray(table)
        spoilt[position // 8] ^= 1 << position % 8
        with pytest.raises(WeightsError):
            read_lengths(*written(spoilt), SIZES, "f")


@pytest.mark.parametrize("data", [b"", b"short", bytes(200), build_table(ROWS)[1:]])
def test_a_file_that_does_not_end_with_a_table_claims_nothing(written, data):
    with pytest.raises(WeightsError) as caught:
        read_claimed(*written(data), "f")
    assert str(caught.value) == (
        "f: has no seek table, it was truncated or is no compressed file of a checkpoint; copy it again or re-save it"
    )
