"""What an archive says of itself: its index, at the end, and the footer that leads there.

An archive is a mark, the frames of its parts one behind the other, the index as one frame, and the footer: where
the index is, its BLAKE3, and the BLAKE3 of every byte before. A part that lies in several files is stored once.
"""

import json
import re
import struct
from collections.abc import Iterator
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.format.compressed import honest_text
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.frames import bound
from ckptfmt.format.jsontext import excess
from ckptfmt.format.record import record
from ckptfmt.share.pack.coding import PART

__all__ = [
    "FOOTER",
    "LONGEST_CHAIN",
    "MARK",
    "MAX_INDEX",
    "BadArchive",
    "Footer",
    "Index",
    "PackedFile",
    "Part",
    "parse_index",
    "render_index",
]

MARK = b"ckptfmt pack 1\r\n"
# It is unpacked into memory before anything vouches for it.
MAX_INDEX = 64 << 20
# The folders that paths name, each with those above it: no more text than the index itself may have.
_MAX_ABOVE = MAX_INDEX
# So many parents are read at most to get at one part.
LONGEST_CHAIN = 16
_END = b"CKPTPACK"
FOOTER = struct.Struct("<8sQQQ32s32s")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WIDTHS = (1, 2, 4, 8)
# What would leave the folder, mean another one, or be no name.
_NO_NAME = re.compile(r"\.{0,2}|.*[/\0].*", re.DOTALL)
_LONGEST_PATH = 4096
# As Linux and macOS have it: 255 bytes.
_LONGEST_NAME = 255


class BadArchive(CkptError, ValueError):
    """This is no archive of a run, or it was damaged."""

    code = "pack.damaged"

    def __init__(self, what: str, *, where: str = "", fix: str = "copy it again", code: str = "") -> None:
        super().__init__(what, where=where, fix=fix, code=code)


@record
class Part:
    """A piece of a file: `stored` bytes at `offset` give `size`; `base` is the part it is the difference to, or -1."""

    offset: int
    stored: int
    size: int
    width: int
    base: int


@record
class PackedFile:
    """A file of the run; `path` has slashes between names."""

    path: str
    bytes: int
    blake3: str
    parts: tuple[int, ...]


@record
class Index:
    """All of it: the name of the run, its folders (those without files too), its files, the parts."""

    run: str
    folders: tuple[str, ...]
    files: tuple[PackedFile, ...]
    parts: tuple[Part, ...]


@record
class Footer:
    """Where the index lies, how many bytes it takes and gives, its digest, the digest of all before the last."""

    offset: int
    stored: int
    size: int
    index: bytes
    whole: bytes

    def begin(self) -> bytes:
        """Return the footer without its last digest, which covers this too."""
        # The last field is a digest of 32 bytes.
        return FOOTER.pack(_END, self.offset, self.stored, self.size, self.index, b"")[:-32]

    @classmethod
    def parse(cls, data: bytes, archive_bytes: int, where: str) -> "Footer":
        """Return the footer of an archive of so many bytes; raise `BadArchive` for anything else."""
        end, offset, stored, size, index, whole = FOOTER.unpack(data)
        if end != _END:
            raise BadArchive("ends as no archive of a run does, it was cut short or is something else", where=where)
        fits = offset >= len(MARK) and offset + stored + FOOTER.size == archive_bytes
        if not fits or size > MAX_INDEX or not honest_text(size, stored):
            raise BadArchive("its footer does not fit its size", where=where)
        return cls(offset, stored, size, index, whole)


def render_index(index: Index) -> bytes:
    """Return the text of an index."""
    document = {
        "run": index.run,
        "folders": list(index.folders),
        "files": [
            {"path": file.path, "bytes": file.bytes, "blake3": file.blake3, "parts": list(file.parts)}
            for file in index.files
        ],
        "parts": [[part.stored, part.size, part.width, part.base] for part in index.parts],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")


def parse_index(data: bytes, footer: Footer, where: str) -> Index:
    """Return the index in `data`; raise `BadArchive` where it is not one that a writer makes."""
    if new_blake3(data).digest() != footer.index:
        raise BadArchive("its index has another digest than its footer says", where=where)
    if surplus := excess(data):
        raise BadArchive(f"its index {surplus}", where=where)
    try:
        document = json.loads(data.decode("utf-8", "surrogateescape"))
        parts = tuple(_parts(_listed(document["parts"])))
        files = tuple(_file(entry, parts) for entry in _listed(document["files"]))
        index = Index(_name(document["run"]), tuple(map(_path, _listed(document["folders"]))), files, parts)
        _check(index, footer.offset)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as e:
        if isinstance(e, BadArchive):
            raise BadArchive(e.what, where=where, fix=e.fix) from None
        raise BadArchive("its index is not one that ckpt pack writes", where=where) from None
    return index


def _parts(rows: list[list[int]]) -> Iterator[Part]:
    offset = len(MARK)
    depths: list[int] = []
    for number, row in enumerate(rows):
        stored, size, width, base = map(_whole, row)
        sizes = 0 < size <= PART and 0 < stored <= bound(size)
        if not sizes or width not in _WIDTHS or not -1 <= base < number:
            raise BadArchive(f"part {number:,} has sizes that no archive has")
        if base >= 0 and rows[base][1] != size:
            raise BadArchive(f"part {number:,} is the difference from a part of another size")
        depths.append(depths[base] + 1 if base >= 0 else 0)
        if depths[-1] > LONGEST_CHAIN:
            raise BadArchive(f"part {number:,} has more than {LONGEST_CHAIN} parents")
        yield Part(offset, stored, size, width, base)
        offset += stored


def _file(entry: dict[str, Any], parts: tuple[Part, ...]) -> PackedFile:
    numbers = tuple(map(_whole, _listed(entry["parts"])))
    if numbers and min(numbers) < 0:
        raise BadArchive("a file names a part that is not there")
    size = sum(parts[number].size for number in numbers)
    if size != entry["bytes"] or not _DIGEST.fullmatch(entry["blake3"]):
        raise BadArchive("the parts of a file do not add up to its size")
    return PackedFile(_path(entry["path"]), size, entry["blake3"], numbers)


def _check(index: Index, end: int) -> None:
    if sum(part.stored for part in index.parts) + len(MARK) != end:
        raise BadArchive("its parts do not add up to its size")
    files = {file.path for file in index.files}
    folders = set(index.folders)
    above = _above(files | folders)
    if len(files) + len(folders) != len(index.files) + len(index.folders) or files & (folders | above):
        raise BadArchive("two of its files have the same name")


def _above(paths: set[str]) -> set[str]:
    """Return the folders that paths name; raise `BadArchive` for more text than those of any run take."""
    found: set[str] = set()
    taken = 0
    for path in paths:
        folder = path.rpartition("/")[0]
        # What lies above a folder that was found was found with it.
        while folder and folder not in found:
            if (taken := taken + len(folder)) > _MAX_ABOVE:
                raise BadArchive("its paths take more folders than those of any run")
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise BadArchive("holds something that is no whole number")
    return value


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadArchive("holds something that is no list")
    return value


def _path(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_PATH:
        raise BadArchive("names a file by something that is not a path")
    for name in value.split("/"):
        _name(name)
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or _NO_NAME.fullmatch(value):
        raise BadArchive("names a file outside of its folder")
    try:
        encoded = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadArchive("names a file by what is no text") from None
    if len(encoded) > _LONGEST_NAME:
        raise BadArchive(f"names a file by more than {_LONGEST_NAME} bytes")
    return value
