import hashlib
import os
import zlib
from dataclasses import replace

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.audit import Audit
from ckptfmt.legacy.bytes.blocks import MemoryBlock, Window
from ckptfmt.legacy.containers.zip import Record

DATA = os.urandom(20 << 20)


class Slow(MemoryBlock):
    """A source that says how much of it was read."""

    done = 0

    def read(self, offset: int, size: int) -> bytes:
        self.done += size
        return super().read(offset, size)


def record(block, start: int, size: int, name: str = "r") -> Record:
    return Record(name, Window(block, start, size), zlib.crc32(block.read(start, size)))


def damaged(sound: Record) -> Record:
    return replace(sound, crc=sound.crc ^ 1)


@pytest.mark.parametrize("size", [0, 1, 8 << 20, (8 << 20) + 1, len(DATA)])
def test_the_digest_is_that_of_the_whole(size):
    block = MemoryBlock(DATA[:size])
    assert Audit(block).result() == hashlib.sha256(DATA[:size]).hexdigest()


def test_records_may_lie_anywhere_and_in_each_other():
    block = MemoryBlock(DATA)
    edges = [(0, 0), (0, 1), (0, len(DATA)), (5, 9 << 20), (8 << 20, 8 << 20), (7 << 20, 2 << 20), (len(DATA), 0)]
    records = [record(block, start, size) for start, size in edges]
    assert Audit(block, records).result() == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("edges", [(0, 1), (5, 9 << 20), (len(DATA) - 1, 1)])
def test_the_damaged_record_is_named(edges):
    block = MemoryBlock(DATA)
    good, bad = record(block, *edges), damaged(record(block, *edges, name="bad"))
    audit = Audit(block, [good, bad])
    for _ in range(2):
        with pytest.raises(SourceError) as error:
            audit.result()
        assert error.value.what == "the record bad does not match its CRC-32: the file is damaged"


def test_a_small_source_is_judged_at_once():
    block = MemoryBlock(DATA[:100])
    bad = damaged(record(block, 0, 10))
    with pytest.raises(SourceError):
        Audit(block, [bad])


def test_records_outside_the_source_are_looked_through_too():
    block, unpacked = MemoryBlock(DATA[:100]), MemoryBlock(DATA)
    bad = damaged(record(unpacked, 3, 17 << 20))
    assert Audit(block, [record(unpacked, 3, 17 << 20)]).result() == hashlib.sha256(DATA[:100]).hexdigest()
    with pytest.raises(SourceError):
        Audit(block, [bad])


def test_the_pass_reads_the_source_once_and_stops_when_told():
    block = Slow(DATA)
    records = [record(MemoryBlock(DATA), 0, 5 << 20)] * 3
    spans = [Record(r.name, Window(block, 0, 5 << 20), r.crc) for r in records]
    Audit(block, spans).result()
    assert block.done == len(DATA)
    audit = Audit(block)
    audit.cancel()
    done = block.done
    audit.cancel()
    assert block.done == done
