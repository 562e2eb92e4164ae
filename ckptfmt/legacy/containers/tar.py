"""Tar archives, read strictly and in place: nothing is extracted, links and devices are refused.

POSIX.1-1988 (ustar) headers, with GNU long names and the harmless part of pax headers.
"""

import re
from typing import NoReturn

from ckptfmt.errors import SourceError, TooCostly, printable
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.blocks import Block, Window, pieces

__all__ = ["Member", "is_tar", "read_members"]

_UNPACK = "unpack it yourself if you trust it, and give the checkpoint in it"
# POSIX.1-1988: everything in a tar is in blocks of this size.
_UNIT = 512
# Archives of checkpoints hold a few files; a path and its attributes are far shorter than the second.
_MAX_MEMBERS = 4096
_MAX_EXTENSION = 64 << 10
_FILE, _OLD_FILE, _FOLDER = b"0", b"\x00", b"5"
_PAX, _PAX_GLOBAL, _GNU_NAME = b"x", b"g", b"L"
# Keys of pax headers that change neither which bytes belong to a member nor what it is.
_HARMLESS = re.compile(r"(mtime|atime|ctime|uid|gid|uname|gname|comment|charset|hdrcharset|(LIBARCHIVE|SCHILY)\..*)\Z")
_PAX_RECORD = re.compile(rb"([0-9]{1,6}) ([^=\n]+)=")
_BAD_NAME = re.compile(r"[\x00-\x1f]|^/|(^|/)\.\.(/|$)|^$")


@record
class Member:
    """A regular file in the archive."""

    name: str
    block: Block


def is_tar(block: Block) -> bool:
    """Return whether a block begins with a tar header whose checksum is right."""
    return block.size >= 2 * _UNIT and _checksum_fits(block.read(0, _UNIT))


def read_members(block: Block) -> tuple[Member, ...]:
    """Return the files of a tar archive in their order.

    Raises `SourceError` for links, devices and other odd members, names that come twice or leave the archive,
    a missing end, and bytes behind it.
    """
    members: dict[str, Member] = {}
    long_name = ""
    at = 0
    while any(header := _header(block, at)):
        kind, name, size = _parse(header)
        data = Window(block, at + _UNIT, size)
        at += _UNIT + size + -size % _UNIT
        if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME):
            long_name = _extended_name(kind, data) or long_name
            continue
        name, long_name = (long_name or name).removeprefix("./"), ""
        if kind == _FOLDER:
            continue
        if kind not in (_FILE, _OLD_FILE):
            _refuse(f"the member {printable(name)} is a link, a device or something else that is not a file")
        if name in members or _BAD_NAME.search(name) or len(members) >= _MAX_MEMBERS:
            _refuse(f"the member {printable(name)} comes twice, has an unsafe name, or is one of too many")
        members[name] = Member(name, data)
    if any(any(piece) for piece in pieces(Window(block, at, block.size - at))):
        _refuse("has bytes behind the end of its tar archive")
    return tuple(members.values())


def _refuse(what: str, code: str = "source.ambiguous") -> NoReturn:
    raise SourceError(what, fix=_UNPACK, code=code)


def _header(block: Block, at: int) -> bytes:
    header = block.read(at, _UNIT)
    if any(header) and not _checksum_fits(header):
        _refuse(f"has a damaged tar header at byte {at:,}", "source.damaged")
    return header


def _checksum_fits(header: bytes) -> bool:
    stated = _octal(header[148:156])
    # The sum of the header's bytes, its own eight counted as spaces.
    return stated is not None and stated == sum(header[:148]) + sum(header[156:]) + 8 * 0x20


def _octal(field: bytes) -> int | None:
    text = field.strip(b" \x00")
    return int(text, 8) if re.fullmatch(rb"[0-7]{1,12}", text) else None


def _parse(header: bytes) -> tuple[bytes, str, int]:
    """Return type, name and size of a member; sizes beyond 8 GiB (base-256) are not read."""
    # Places of fields in a header, as POSIX.1-1988 lays them out: name, size, type, magic, prefix.
    size = _octal(header[124:136])
    if size is None:
        _refuse("has a member whose size cannot be read", "source.damaged")
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\x00" else ""
    return header[156:157], f"{prefix}/{name}" if prefix else name, size


def _text(field: bytes) -> str:
    text, _, rest = field.partition(b"\x00")
    try:
        return text.decode() if not any(rest) else _refuse("has a member whose name has a second part behind NUL")
    except UnicodeDecodeError:
        _refuse("has a member whose name is not UTF-8")


def _extended_name(kind: bytes, block: Block) -> str:
    """Return the name of the next member where an extension header gives one, else ""."""
    if block.size > _MAX_EXTENSION:
        raise TooCostly("has a header that is too long", fix=_UNPACK)
    data = block.read(0, block.size)
    if kind == _GNU_NAME:
        return _text(data)
    name, at = "", 0
    while at < len(data):
        match = _PAX_RECORD.match(data, at)
        if match is None or data[(end := at + int(match[1])) - 1 : end] != b"\n" or end <= match.end():
            _refuse("has a damaged pax header", "source.damaged")
        key = match[2].decode("latin-1")
        if key == "path" and kind == _PAX:
            name = _text(data[match.end() : end - 1])
        elif not _HARMLESS.match(key):
            _refuse(f"has a pax header that sets {printable(key)}")
        at = end
    return name
