import contextlib
import itertools
import os
import shutil
import struct
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptfmt.errors import WeightsError
from ckptfmt.format.compressed import CompressedFile, open_by_table
from ckptfmt.format.datafile import DamagedFrame
from ckptfmt.format.files import open_folder
from ckptfmt.format.frames import PART, Encoder, decode, frame_sizes, zstd
from ckptfmt.format.opened import open_data

SEGMENTS = (64, 3000, 0, 17, PART + 5)
TABLE_ROW = 8


def plain_bytes(segments=SEGMENTS, *, seed: int = 1) -> bytes:
    """Bytes of which half are noise and half compress well."""
    size = sum(segments)
    noise = (seed + i * i * 2654435761 >> 11 & 0xFF for i in range(min(size, 4096)))
    return (bytes(noise) * (size // 4096 + 1))[:size]


def stored_bytes(plain: bytes, segments=SEGMENTS, level: int = 3) -> bytes:
    encoder, parts, position = Encoder(level), [], 0
    for size in frame_sizes(segments):
        parts.append(encoder.frame(plain[position : position + size]))
        position += size
    return b"".join(parts) + encoder.end()


def opened(path: Path, data: bytes, segments=SEGMENTS) -> CompressedFile:
    path.write_bytes(data)
    return CompressedFile(os.open(path, os.O_RDONLY), len(data), segments, "w.zst")


def read_all(file: CompressedFile) -> bytes:
    file.check_layout()
    plain = file.read(0, file.size)
    file.check_stored()
    return plain


sizes = st.lists(st.integers(0, 3 * 4096), min_size=1, max_size=8).filter(any)


@given(sizes, st.integers(1, 19), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_what_was_compressed_reads_back_from_any_place(tmp_path, segments, level, data):
    plain = plain_bytes(segments)
    with opened(tmp_path / "f", stored_bytes(plain, segments, level), segments) as file:
        assert (file.size, read_all(file)) == (len(plain), plain)
        begin = data.draw(st.integers(0, len(plain)))
        size = data.draw(st.integers(0, len(plain) - begin))
        cursor = file.cursor(begin)
        first = size // 2
        target = bytearray(size - first)
        assert cursor.read(first) == plain[begin : begin + first]
        cursor.fill(memoryview(target))
        assert target == plain[begin + first : begin + size]


def test_what_hardly_shrinks_is_framed_as_it_is_and_reads_back():
    values = os.urandom(PART + 1)
    hardly = bytes(value % 180 for value in values)[:PART]
    shrunk, kept = Encoder(1).frame(hardly), Encoder(1, 0.1).frame(hardly)
    assert len(shrunk) < 0.97 * PART < PART < len(kept) < PART + 200
    assert decode(kept, PART) == zstd.decompress(kept) == hardly
    # What pays is not touched by it, nor is what is too small to be judged.
    for pays in (bytes(PART), hardly[: 64 << 10]):
        assert Encoder(1, 0.1).frame(pays) == Encoder(1).frame(pays)


def test_a_tensor_is_cut_into_parts_and_nothing_else_is(tmp_path):
    assert list(frame_sizes(SEGMENTS)) == [64, 3000, 17, PART, 5]
    plain = plain_bytes()
    with opened(tmp_path / "f", stored_bytes(plain)) as file:
        assert read_all(file) == plain
        assert file.read(64 + 3000 + 10, PART + 12) == plain[64 + 3000 + 10 :]


def test_other_readers_of_zstd_read_it(tmp_path):
    plain = plain_bytes()
    path = tmp_path / "f.zst"
    path.write_bytes(stored_bytes(plain))
    with zstd.open(path, "rb") as file:
        assert file.read() == plain
    if program := shutil.which("zstd"):
        assert subprocess.run([program, "-dc", path], capture_output=True, check=True).stdout == plain
        subprocess.run([program, "-tq", path], check=True)


def test_the_table_is_that_of_the_seekable_format():
    """Read by the text of the specification alone: the last nine bytes lead to everything."""
    plain = plain_bytes()
    data = stored_bytes(plain)
    count, descriptor, magic = struct.unpack("<IBI", data[-9:])
    assert (magic, descriptor) == (0x8F92EAB1, 0)
    table = data[-(9 + 8 * count + 8) :]
    assert struct.unpack("<II", table[:8]) == (0x184D2A5E, len(table) - 8)
    position, found = 0, b""
    for i in range(count):
        stored, size = struct.unpack_from("<II", table, 8 + 8 * i)
        frame = data[position : position + stored]
        if size:
            info = zstd.get_frame_info(frame)
            assert info.decompressed_size == size
            found += zstd.decompress(frame)
        position += stored
    assert found == plain
    assert position == len(data) - len(table)


def flips(path: Path, data: bytes, segments) -> Iterator[tuple[int, int, CompressedFile]]:
    """Yield (byte, bit, the file) for each bit that is flipped, one at a time."""
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDWR)
    for position, bit in itertools.product(range(len(data)), range(8)):
        os.pwrite(descriptor, bytes([data[position] ^ 1 << bit]), position)
        yield position, bit, CompressedFile(descriptor, len(data), segments, "w.zst")
        os.pwrite(descriptor, data[position : position + 1], position)
    os.close(descriptor)


def is_sound(read: Callable[[], object]) -> bool:
    try:
        read()
    except WeightsError:
        return False
    return True


def test_every_flipped_bit_is_found(tmp_path):
    segments = (64, 40, 17)
    data = stored_bytes(plain_bytes(segments), segments)
    found = flips(tmp_path / "f", data, segments)
    assert [(position, bit) for position, bit, file in found if is_sound(lambda file=file: read_all(file))] == []


def test_some_flipped_bits_are_found_by_the_guard_alone(tmp_path):
    """Why there is one: a frame has bits that say nothing, and a plain digest does not see them."""
    segments = (64, 40, 17)
    plain = plain_bytes(segments)
    data = stored_bytes(plain, segments)
    silent = 0
    for _, _, file in flips(tmp_path / "f", data, segments):
        with contextlib.suppress(WeightsError):
            silent += file.read(0, file.size) == plain
    assert silent > 8 * 40


@pytest.mark.parametrize("cut", [1, 9, 40, 57, 80, 200])
def test_a_file_that_was_cut_is_refused(tmp_path, cut):
    segments = (64, 300)
    data = stored_bytes(plain_bytes(segments), segments)
    for damaged in (data[:-cut], data[cut:]):
        with opened(tmp_path / "f", damaged, segments) as file, pytest.raises(WeightsError) as caught:
            read_all(file)
        assert caught.value.code == "weights.stored"


def test_bytes_behind_the_table_are_refused(tmp_path):
    data = stored_bytes(plain_bytes()) + b"\0"
    with opened(tmp_path / "f", data) as file, pytest.raises(WeightsError) as caught:
        file.check_layout()
    assert str(caught.value) == (
        "w.zst: its seek table is not that of the tensors in the manifest; copy it again or re-save it"
    )


def test_a_frame_that_holds_gigabytes_is_refused_with_little_memory(tmp_path):
    zeros = zstd.ZstdCompressor(3)
    block = bytes(1 << 24)
    bomb = b"".join(zeros.compress(block) for _ in range(64)) + zeros.flush()
    tracemalloc.start()
    with pytest.raises(DamagedFrame, match="does not decompress to what the manifest says"):
        decode(bomb, 1000)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_header_that_shrinks_as_none_does_is_refused_in_little_memory(tmp_path):
    header = 64 << 20
    encoder = Encoder(3)
    plain = header.to_bytes(8, "little") + b"{" + b" " * (header - 1)
    stored = b"".join(encoder.frame(plain[begin : begin + PART]) for begin in range(0, len(plain), PART))
    (tmp_path / "bomb.zst").write_bytes(stored + encoder.end())
    size = (tmp_path / "bomb.zst").stat().st_size
    assert size < 64 << 10
    descriptor = os.open(tmp_path / "bomb.zst", os.O_RDONLY)
    tracemalloc.start()
    with pytest.raises(WeightsError, match="claims a header that does not fit into it"):
        open_by_table(descriptor, size, "bomb.zst")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_window_wider_than_eight_mebibytes_is_refused():
    wide = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    frame = wide.compress(b"x" * 100) + wide.flush()
    assert zstd.get_frame_info(frame).decompressed_size is None
    with pytest.raises(DamagedFrame, match="cannot be decompressed, it is damaged or asks for too much memory"):
        decode(frame, 100)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"not a frame at all",
        zstd.compress(b"x" * 99),
        zstd.compress(b"x" * 101),
        zstd.compress(b"x" * 100)[:-1],
        zstd.compress(b"x" * 100) + zstd.compress(b""),
        zstd.compress(b"x" * 100) + b"\0",
        struct.pack("<II", 0x184D2A50, 100) + b"x" * 100,
    ],
)
def test_a_frame_that_is_not_exactly_what_is_wanted_is_refused(frame):
    with pytest.raises(DamagedFrame):
        decode(frame, 100)


def test_a_manifest_that_claims_petabytes_costs_nothing(tmp_path):
    data = stored_bytes(plain_bytes())
    tracemalloc.start()
    with opened(tmp_path / "f", data, (64, 1 << 60)) as file, pytest.raises(WeightsError) as caught:
        file.read(0, 8)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert str(caught.value) == (
        "w.zst: is too short for its seek table, it was truncated; copy it again or re-save it"
    )


def test_without_its_table_the_frames_are_found_one_behind_the_other(tmp_path):
    plain = plain_bytes()
    data = stored_bytes(plain)
    with opened(tmp_path / "f", data[:-60]) as file:
        with pytest.raises(WeightsError):
            file.check_layout()
        file.walk()
        assert file.read(0, file.size) == plain
    with opened(tmp_path / "g", data[:200]) as file:
        file.walk()
        assert file.read(0, 64) == plain[:64]
        with pytest.raises(DamagedFrame):
            file.read(64, 10)


def test_without_a_manifest_the_table_tells_the_frames(tmp_path):
    plain = plain_bytes()
    path = tmp_path / "f"
    path.write_bytes(stored_bytes(plain))
    with open_by_table(os.open(path, os.O_RDONLY), path.stat().st_size, "f") as file:
        assert read_all(file) == plain
    for spoilt in (b"", b"\0" * 200, path.read_bytes()[:-1]):
        path.write_bytes(spoilt)
        with pytest.raises(WeightsError) as caught:
            open_by_table(os.open(path, os.O_RDONLY), len(spoilt), "f").check_layout()
        assert caught.value.code == "weights.stored"


def test_either_form_is_opened_and_both_at_once_are_refused(tmp_path):
    plain = plain_bytes()
    (tmp_path / "w").write_bytes(plain)
    folder = open_folder(tmp_path)
    with open_data(folder, "w", SEGMENTS, where="here") as file:
        assert (file.compressed, file.size, file.stored, file.read(60, 9)) == (
            False,
            len(plain),
            len(plain),
            plain[60:69],
        )
    (tmp_path / "w.zst").write_bytes(stored_bytes(plain))
    with pytest.raises(WeightsError) as caught:
        open_data(folder, "w", SEGMENTS, where="here")
    assert str(caught.value) == "here/w: lies there twice, plain and compressed; remove one of the two"
    assert caught.value.code == "layout.twice"
    (tmp_path / "w").unlink()
    with open_data(folder, "w", SEGMENTS, where="here") as file:
        assert (file.compressed, file.size, file.read(60, 9)) == (True, len(plain), plain[60:69])
        assert file.stored < file.size
    (tmp_path / "w.zst").unlink()
    with pytest.raises(WeightsError, match="here/w: is missing; copy the checkpoint again"):
        open_data(folder, "w", SEGMENTS, where="here")
    os.close(folder)
