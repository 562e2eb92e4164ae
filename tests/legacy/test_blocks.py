import io
import os
from pathlib import Path

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.blocks import FileBlock, MemoryBlock, Spool, Window, pieces, root_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(bytes(range(100)))
    return path


def opened(path: Path) -> FileBlock:
    descriptor = os.open(path, os.O_RDONLY)
    return FileBlock(descriptor, os.fstat(descriptor))


def test_a_file_is_read_where_it_lies(path):
    block = opened(path)
    assert block.size == 100
    assert block.read(10, 5) == bytes(range(10, 15))
    assert block.read(100, 0) == b""
    block.close()


@pytest.mark.parametrize(("offset", "size"), [(0, 101), (100, 1), (-1, 1), (0, -1), (1 << 70, 1)])
def test_a_read_outside_is_refused_before_it_happens(path, offset, size):
    block = opened(path)
    for each in (block, Window(block, 0, 100), MemoryBlock(bytes(100))):
        with pytest.raises(SourceError, match="but bytes up to") as error:
            each.read(offset, size)
        assert error.value.code == "source.truncated"
    block.close()


def test_a_file_that_gets_shorter_while_it_is_read_is_noticed(path):
    block = opened(path)
    os.truncate(path, 50)
    with pytest.raises(SourceError) as error:
        block.read(40, 20)
    assert str(error.value) == "became shorter while it was read; let the writing program finish, then try again"
    assert error.value.code == "source.changed"
    block.close()


def test_a_file_that_is_held_gives_the_bytes_it_had(path):
    block = opened(path)
    block.hold()
    path.write_bytes(bytes(100))
    assert block.read(10, 5) == bytes(range(10, 15))
    with pytest.raises(SourceError, match=r"^changed while it was read;"):
        block.check_unchanged(str(path))
    block.close()


def test_a_file_that_was_written_to_or_replaced_is_noticed(path):
    block = opened(path)
    block.check_unchanged(str(path))
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)
    with pytest.raises(SourceError, match=r"^changed while it was read;"):
        block.check_unchanged(str(path))
    path.unlink()
    with pytest.raises(SourceError, match=r"^is not there any more;"):
        block.check_unchanged(str(path))
    block.close()


def test_an_error_of_the_disk_is_told(path):
    block = opened(path)
    block.close()
    with pytest.raises(SourceError, match="cannot be read at byte 7: Bad file descriptor"):
        block.read(7, 1)


def test_a_window_cannot_reach_out_of_its_block():
    inner = Window(MemoryBlock(bytes(range(20))), 5, 10)
    assert inner.read(1, 2) == bytes([6, 7])
    assert Window(inner, 2, 3).read(0, 3) == bytes([7, 8, 9])
    with pytest.raises(SourceError):
        inner.read(9, 2)
    with pytest.raises(SourceError):
        Window(inner, 5, 6)


def test_the_root_of_nested_windows_is_the_block_they_look_into():
    root = MemoryBlock(bytes(20))
    assert root_of(Window(Window(root, 5, 10), 2, 3)) == (root, 7)
    assert root_of(root) == (root, 0)


def test_pieces_are_the_whole_in_bounded_parts():
    block = MemoryBlock(bytes(range(10)))
    assert [len(piece) for piece in pieces(block, 4)] == [4, 4, 2]
    assert b"".join(pieces(block, 4)) == bytes(range(10))
    assert list(pieces(MemoryBlock(b""), 4)) == []


def test_a_spool_keeps_several_blocks_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool(100)
    first, empty, second = spool.add([b"ab", b"", b"c"]), spool.add([]), spool.add([b"de"])
    assert (first.read(0, 3), empty.size, second.read(0, 2)) == (b"abc", 0, b"de")
    assert list(tmp_path.iterdir()) == []
    spool.close()


def test_a_spool_stops_at_its_limit():
    spool = Spool(10)
    spool.add([b"12345"])
    with pytest.raises(SourceError, match="unpacks to more than 10 bytes") as error:
        spool.add(iter([b"12345", b"6"]))
    assert error.value.code == "source.limit"
    spool.close()


def test_a_full_disk_is_told_while_unpacking(monkeypatch):
    spool = Spool(100)
    spool.add([b"x"])
    spool.close()
    spool._file = io.FileIO("/dev/full", "w")
    with pytest.raises(SourceError, match="cannot be unpacked: No space left on device; make room in"):
        spool.add([b"x"])
    spool.close()


def test_a_write_is_seen_though_the_time_of_the_last_write_was_put_back(path):
    block = opened(path)
    before = path.stat()
    path.write_bytes(bytes(100))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SourceError, match=r"^changed while it was read;"):
        block.check_unchanged(str(path))
    block.close()
