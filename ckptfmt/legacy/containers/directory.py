"""The list of records at the end of a zip archive, read strictly (APPNOTE 6.3.10, sections 4.3.12 to 4.3.16)."""

import re
import struct
from typing import NoReturn

from ckptfmt.errors import SourceError, TooCostly, printable
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.blocks import Block

__all__ = [
    "DEFLATED",
    "DESCRIPTOR",
    "FULL32",
    "STORED",
    "ZIP64_EXTRA",
    "Entry",
    "ends_as_archive",
    "extra_fields",
    "read_directory",
    "refuse",
    "truncated",
]

# Numbers of the format itself: PKWARE's APPNOTE.TXT, sections 4.3 to 4.5.
STORED, DEFLATED = 0, 8
DESCRIPTOR = 0x0008
ZIP64_EXTRA = 0x0001
FULL32 = 0xFFFFFFFF

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")

# torch writes a record for each storage; the largest models have some thousands.
_MAX_DIRECTORY = 32 << 20
_MAX_ENTRIES = 1 << 16
# Sections 4.6.9 and 4.4.4 of APPNOTE.TXT: the name in UTF-8 beside the plain one; bits of the flags. Encrypted is any
# of three: the data, strongly, or the directory too.
_UNICODE_PATH_EXTRA = 0x7075
_UTF8, _DEFLATE_LEVEL, _ENCRYPTED = 0x0800, 0x0006, 0x2041
_FULL16 = 0xFFFF
# The system that made a record, section 4.4.2, and the four bits of its mode that say a symbolic link (stat.h).
_UNIX, _LINK = 3, 0xA
_BAD_NAME = re.compile(r"[\x00-\x1f\\]|^/|(^|/)\.\.?(/|$)|//|^$|^.:")


@record
class Entry:
    """A record of the archive: `stored` bytes at `start` that unpack to `size` bytes with the CRC `crc`."""

    name: str
    raw_name: bytes
    method: int
    flags: int
    crc: int
    stored: int
    size: int
    header: int
    start: int = 0
    stop: int = 0


def ends_as_archive(block: Block) -> bool:
    """Return whether the end of a block is that of a zip archive, whatever lies in front of it."""
    at, tail = _find_end(block)
    # The last two bytes of the end record are the length of the comment that follows.
    return at >= 0 and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail)


_RESAVE = "re-save it with the program that wrote it"


def refuse(what: str, code: str = "source.ambiguous") -> NoReturn:
    """Raise the `SourceError` for an archive that readers see differently."""
    raise SourceError(what, fix=_RESAVE, code=code)


def truncated(what: str) -> NoReturn:
    """Raise the `SourceError` for an archive that is cut short."""
    raise SourceError(what, fix="the file is cut short: copy or download it again", code="source.truncated")


def read_directory(block: Block) -> tuple[list[Entry], int]:
    """Return the records that the central directory lists, and where it starts; raise `SourceError`."""
    start, stop, count = _find_directory(block)
    return _read_entries(block.read(start, stop - start), count), start


def _find_directory(block: Block) -> tuple[int, int, int]:
    """Return where the central directory starts and stops, and how many entries it has."""
    at, tail = _find_end(block)
    if at < 0 or at + _END.size > len(tail):
        truncated("is a zip archive without its end, where the list of its records is")
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        refuse("has bytes behind the end of its zip archive")
    end = block.size - len(tail) + at
    stop = end
    if end >= _LOCATOR.size and (locator := block.read(end - _LOCATOR.size, _LOCATOR.size)).startswith(b"PK\x06\x07"):
        stop, narrow = end - _LOCATOR.size - _END64.size, (disk, first_disk, here, count, size, start)
        disk, first_disk, here, count, size, start = _find_directory64(block, stop, locator, narrow)
    if disk or first_disk or here != count:
        refuse("is one part of a zip archive of several", "source.damaged")
    if size > _MAX_DIRECTORY or count > _MAX_ENTRIES:
        what = f"lists {count:,} records in {size:,} bytes, more than any checkpoint has"
        raise TooCostly(what, fix=_RESAVE)
    if start + size != stop:
        where = "in front of its zip archive" if start + size < stop else "missing from its zip archive"
        refuse(f"has {abs(stop - start - size):,} bytes {where}")
    return start, stop, count


def _find_end(block: Block) -> tuple[int, bytes]:
    """Return the last bytes of a block and where in them the last end record is, or -1."""
    size = min(block.size, _END.size + _FULL16)
    tail = block.read(block.size - size, size)
    return tail.rfind(b"PK\x05\x06"), tail


def _find_directory64(block: Block, at: int, locator: bytes, narrow: tuple[int, ...]) -> tuple[int, ...]:
    """Return the six fields of the zip64 end record, held against those of the plain one."""
    _, disk, offset, disks = _LOCATOR.unpack(locator)
    if disk or disks > 1 or at < 0 or offset > at:
        refuse("has a zip64 end that is not where it should be")
    if offset < at:
        refuse(f"has {at - offset:,} bytes in front of its zip archive")
    magic, size, _, _, *wide = _END64.unpack(block.read(at, _END64.size))
    # The size leaves out its own field and the magic number.
    if magic != b"PK\x06\x06" or size != _END64.size - 12:
        refuse("has a damaged zip64 end", "source.damaged")
    sentinels = (_FULL16, _FULL16, _FULL16, _FULL16, FULL32, FULL32)
    for small, large, full in zip(narrow, wide, sentinels, strict=True):
        if small not in (large, full):
            refuse("has two ends that disagree about the list of its records")
    return tuple(wide)


def _read_entries(data: bytes, count: int) -> list[Entry]:
    entries: list[Entry] = []
    names: set[str] = set()
    at = 0
    while at < len(data):
        entry, at = _central(data, at)
        folded = entry.name.rstrip("/").lower()
        if folded in names:
            refuse(f"has two records named {printable(entry.name)}")
        names.add(folded)
        entries.append(entry)
    if len(entries) != count:
        refuse(f"lists {len(entries):,} records where its end says {count:,}")
    return entries


def _central(data: bytes, at: int) -> tuple[Entry, int]:
    """Return the entry of the central directory that lies at `at`, and where the next one lies."""
    if at + _CENTRAL.size > len(data) or not data.startswith(b"PK\x01\x02", at):
        refuse("has a damaged list of records", "source.damaged")
    fields = _CENTRAL.unpack_from(data, at)
    _, made_by, _, flags, method, _, _, crc, stored, size, n_name, n_extra, n_comment, disk, _, mode, header = fields
    at += _CENTRAL.size
    stop = at + n_name + n_extra + n_comment
    if stop > len(data):
        refuse("has a damaged list of records", "source.damaged")
    raw_name = data[at : at + n_name]
    name = _name(raw_name, flags)
    extras = extra_fields(data[at + n_name : at + n_name + n_extra], name)
    size, stored, header = _widen(extras.get(ZIP64_EXTRA), (size, stored, header), name)
    _check_kind(name, flags, method, stored, size)
    # The upper half of the attributes is a mode of Unix, whose upper four bits say what it is.
    if disk or (made_by >> 8 == _UNIX and mode >> 28 == _LINK):
        refuse(f"the record {printable(name)} is a link or on another disk")
    return Entry(name, raw_name, method, flags, crc, stored, size, header), stop


def _name(raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        refuse(f"has a record whose name {printable(raw)} readers spell differently")
    if _BAD_NAME.search(name):
        refuse(f"has a record with the unsafe name {printable(repr(name))}")
    return name


def _check_kind(name: str, flags: int, method: int, stored: int, size: int) -> None:
    if flags & _ENCRYPTED:
        refuse(f"the record {printable(name)} is encrypted", "source.encrypted")
    if method not in (STORED, DEFLATED):
        refuse(f"the record {printable(name)} is packed with method {method}, not stored or deflated")
    if flags & ~(DESCRIPTOR | _UTF8 | (_DEFLATE_LEVEL if method == DEFLATED else 0)):
        refuse(f"the record {printable(name)} has the unusual flags {flags:#06x}")
    if (method == STORED and stored != size) or (name.endswith("/") and size):
        refuse(f"the record {printable(name)} has two sizes, {stored:,} and {size:,} bytes")


def extra_fields(data: bytes, name: str) -> dict[int, bytes]:
    """Return the extra fields by their id; they must fill their place exactly."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        # Each begins with its id and its length, two bytes each; what is cut short claims more than there can be.
        kind, size = struct.unpack_from("<2H", data, at) if at + 4 <= len(data) else (0, _FULL16)
        if at + 4 + size > len(data) or kind in found or kind == _UNICODE_PATH_EXTRA:
            refuse(f"the record {printable(name)} has extra fields that readers see differently")
        found[kind] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def _widen(extra: bytes | None, fields: tuple[int, int, int], name: str) -> tuple[int, ...]:
    """Return size, stored size and offset, those that do not fit 32 bits taken from the zip64 extra field."""
    missing = sum(field == FULL32 for field in fields)
    # Eight bytes for each number that does not fit, and nothing else.
    if len(extra or b"") != 8 * missing:
        refuse(f"the record {printable(name)} has sizes that readers see differently")
    wide = iter(struct.unpack(f"<{missing}Q", extra or b""))
    return tuple(next(wide) if field == FULL32 else field for field in fields)
