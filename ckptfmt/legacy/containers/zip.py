"""Zip archives, read strictly: whatever two zip readers could see differently is refused.

The standard library's reader takes the last of two equal names, torch's the first, ignoring case; streaming
readers believe the local headers, others the central directory. Here both must agree, and the records must
follow each other without hole or overlap from the first byte of the archive to its directory (APPNOTE 6.3.10).
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NoReturn

from ckptfmt.errors import SourceError, printable
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.blocks import Block, Spool, Window, pieces
from ckptfmt.legacy.bytes.packed import FEED, Inflater, one_stream
from ckptfmt.legacy.containers.directory import (
    DESCRIPTOR,
    FULL32,
    STORED,
    ZIP64_EXTRA,
    Entry,
    extra_fields,
    read_directory,
    refuse,
    truncated,
)

__all__ = ["MAGIC", "Archive", "Record", "bad_crc", "read_archive"]

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")

_LOCAL = struct.Struct("<4s5H3L2H")


@record
class Record:
    """Bytes of a source that must have a certain CRC-32."""

    name: str
    block: Window
    crc: int


@record
class Archive:
    """An archive whose directory was checked; its records are read where they lie."""

    block: Block
    entries: Mapping[str, Entry]

    @property
    def without_crc(self) -> bool:
        """Return whether torch was told not to compute checksums: it then writes 0 for every one of them."""
        filled = [entry for entry in self.entries.values() if entry.size]
        return bool(filled) and all(e.crc == 0 and e.method == STORED and e.flags & DESCRIPTOR for e in filled)

    def stored_records(self) -> Iterator[Record]:
        """Yield the records whose bytes lie in the archive as they are, with the CRC they must have."""
        for entry in self.entries.values():
            if entry.method == STORED:
                yield Record(entry.name, Window(self.block, entry.start, entry.stored), entry.crc)

    def is_damaged(self, name: str, block: Block) -> bool:
        """Return whether `block`, the bytes of a record, does not have the CRC it must have."""
        return not self.without_crc and zlib.crc32(block.read(0, block.size)) != self.entries[name].crc

    def open(self, name: str, spool: Spool) -> Block:
        """Return the bytes of a record; a deflated one is unpacked into `spool` and its CRC checked.

        The CRC of a stored record is not checked here. Raises `SourceError` for a missing or damaged record.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise SourceError(
                f"the record {printable(name)} is missing from the archive",
                fix="the file is damaged: copy or download it again",
                code="source.damaged",
            )
        raw = Window(self.block, entry.start, entry.stored)
        return raw if entry.method == STORED else spool.add(_inflate(raw, entry))


def read_archive(block: Block) -> Archive:
    """Return the archive that fills a block; raise `SourceError` for all that is not exactly one zip file."""
    entries, start = read_directory(block)
    located = _locate(block, sorted(entries, key=lambda entry: entry.header), start)
    return Archive(block, {entry.name: located[entry.header] for entry in entries})


def bad_crc(name: str) -> SourceError:
    """Return the error for a record whose bytes changed since it was written."""
    return SourceError(
        f"the record {printable(name)} does not match its CRC-32: the file is damaged",
        fix="copy or download it again",
        code="source.crc",
    )


def _locate(block: Block, entries: list[Entry], end: int) -> dict[int, Entry]:
    """Return the entries by the offset of their header, with the places of their bytes.

    They must follow each other from byte 0 to `end`, the start of the directory.
    """
    located: dict[int, Entry] = {}
    position = 0
    for entry in entries:
        if entry.header != position:
            kind = "overlap" if entry.header < position else "leave a hole"
            refuse(f"has records that {kind} at byte {min(entry.header, position):,}")
        found = _local(block, entry, end)
        located[position] = found
        position = found.stop
    if position != end:
        refuse(f"has {end - position:,} bytes that belong to no record")
    return located


def _local(block: Block, entry: Entry, end: int) -> Entry:
    """Return the entry with its place, its local header held against the central one."""
    _, flags, method, _, _, crc, stored, size, n_name, n_extra = _read_local(block, entry, end)
    tail = block.read(entry.header + _LOCAL.size, n_name + n_extra)
    same = (flags, method, tail[:n_name]) == (entry.flags, entry.method, entry.raw_name)
    if not same or not _same_sizes(entry, crc, stored, size, tail[n_name:]):
        _disagree(entry)
    start = entry.header + _LOCAL.size + n_name + n_extra
    if start + entry.stored > end:
        truncated(f"the record {printable(entry.name)} runs beyond the records of the archive")
    stop = start + entry.stored
    if flags & DESCRIPTOR:
        # The longest of its four forms has 24 bytes.
        stop += _descriptor(block.read(stop, min(24, end - stop)), entry)
    return replace(entry, start=start, stop=stop)


def _disagree(entry: Entry) -> NoReturn:
    refuse(f"the record {printable(entry.name)} is described in two ways that disagree")


def _read_local(block: Block, entry: Entry, end: int) -> tuple[int, ...]:
    if entry.header + _LOCAL.size > end:
        truncated(f"the record {printable(entry.name)} lies beyond the records of the archive")
    magic, *fields = _LOCAL.unpack(block.read(entry.header, _LOCAL.size))
    if magic != b"PK\x03\x04":
        _disagree(entry)
    if entry.header + _LOCAL.size + fields[-2] + fields[-1] > end:
        truncated(f"the record {printable(entry.name)} lies beyond the records of the archive")
    return tuple(fields)


def _same_sizes(entry: Entry, crc: int, stored: int, size: int, extra: bytes) -> bool:
    """Return whether a local header says the same of CRC and sizes as the central one.

    A record with a descriptor may leave them 0. Its zip64 field repeats some of the numbers (torch's writer
    puts the offset there alone), so each of them must be one that is known.
    """
    wide = extra_fields(extra, entry.name).get(ZIP64_EXTRA, b"")
    if len(wide) % 8:
        return False
    words = struct.unpack(f"<{len(wide) // 8}Q", wide)
    later = bool(entry.flags & DESCRIPTOR)
    if not set(words) <= {entry.size, entry.stored, entry.header, *([0] if later else [])}:
        return False
    expected = [(crc, entry.crc), (stored, entry.stored), (size, entry.size)]
    if later and all(found in (0, FULL32 if words else 0) for found, _ in expected):
        return True
    if FULL32 in (stored, size) and words:
        return crc == entry.crc and words[:2] == (entry.size, entry.stored) and {stored, size} <= {FULL32, entry.size}
    return all(found == known for found, known in expected)


def _descriptor(data: bytes, entry: Entry) -> int:
    """Return the length of the data descriptor that `data` starts with."""
    # With the magic number and without, which the specification leaves open, and with sizes of 32 and of 64 bits.
    for form in ("<4s3L", "<4sL2Q", "<3L", "<L2Q"):
        known = [b"PK\x07\x08"] if "s" in form else []
        sizes = [entry.stored & FULL32, entry.size & FULL32] if "Q" not in form else [entry.stored, entry.size]
        if data.startswith(struct.pack(form, *known, entry.crc, *sizes)):
            return struct.calcsize(form)
    _disagree(entry)


def _inflate(raw: Block, entry: Entry) -> Iterator[bytes]:
    """Yield the bytes of a deflated record; raise `SourceError` unless they are exactly those promised."""
    feeds = pieces(raw, FEED)
    inflater = Inflater(-zlib.MAX_WBITS)
    crc = size = 0
    for out in one_stream(inflater, next(feeds, b""), feeds, "deflated"):
        crc, size = zlib.crc32(out, crc), size + len(out)
        if size > entry.size:
            raise bad_crc(entry.name)
        yield out
    if (crc, size) != (entry.crc, entry.size) or inflater.unused_data or next(feeds, b""):
        raise bad_crc(entry.name)
