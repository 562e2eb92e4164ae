"""A data file of a checkpoint opened for reading, plain or compressed: the same bytes at the same positions."""

import contextlib
from collections.abc import Callable
from typing import Self

from ckptfmt.errors import WeightsError, WrongSize
from ckptfmt.format.entries import FileEntry
from ckptfmt.format.files import (
    OpenFile,
    read_exactly,
    read_into,
    release,
)
from ckptfmt.format.safetensors import parse_header
from ckptfmt.format.travelled import MAX_POINTER, LfsPointer, pointer

__all__ = ["Cursor", "DamagedFrame", "DataFile", "TwoForms", "begins_with", "check_whole", "unfetched"]


# A part is used while it is still in the processor's cache.
_PART = 1 << 20


class DamagedFrame(WeightsError):
    """A compressed frame does not give the bytes it should; whoever reads knows which tensor that is."""

    code = "weights.digest"


class TwoForms(WeightsError):
    """A file lies there plain and compressed, and nothing says which of the two is meant."""

    code = "layout.twice"


class Cursor:
    """Reads on from a position of a plain file; each thread needs one of its own."""

    def __init__(self, file: "DataFile", position: int) -> None:
        self._file = file
        self._position = position

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes; raise `WeightsError` where the file ends before or is damaged."""
        data = read_exactly(self._file.descriptor, self._position, size, where=self._file.where)
        self._position += size
        return data

    def fill(self, target: memoryview) -> None:
        """Read the next bytes into all of `target`; raises as `read`."""
        read_into(self._file.descriptor, self._position, target, where=self._file.where)
        self._position += len(target)


class DataFile:
    """A plain data file, opened: `size` bytes, of which `stored` lie on the disk; `where` names it in errors."""

    def __init__(self, descriptor: OpenFile, size: int, where: str, stored: int | None = None) -> None:
        self.descriptor = descriptor
        self.where = where
        self._size = size
        self._stored = size if stored is None else stored

    @property
    def size(self) -> int:
        """Return the bytes of the plain file."""
        return self._size

    @property
    def stored(self) -> int:
        """Return the bytes of the file as it lies there."""
        return self._stored

    @property
    def is_far(self) -> bool:
        """Return whether it lies in a store, where each request costs."""
        # On a disk it is a descriptor of the system; what stands for one in a store is an object.
        return not isinstance(self.descriptor, int)

    @property
    def compressed(self) -> bool:
        """Return whether the file is the compressed form."""
        return False

    def cursor(self, position: int) -> Cursor:
        """Return a cursor at a position of the plain file."""
        return Cursor(self, position)

    def read(self, position: int, size: int) -> bytes:
        """Return bytes of the plain file; raise `WeightsError` where it ends before or is damaged."""
        return self.cursor(position).read(size)

    def fill(self, position: int, target: memoryview, taken: Callable[[memoryview], None]) -> None:
        """Read the bytes from a position on into all of `target`; `taken` is given each part once it is filled.

        Raises as `read`.
        """
        cursor = self.cursor(position)
        for begin in range(0, len(target), _PART):
            cursor.fill(part := target[begin : begin + _PART])
            taken(part)

    def check_layout(self) -> None:
        """Raise `WeightsError` where what lies around the plain bytes is not as it must be; nothing does here."""

    def check_stored(self) -> None:
        """Read what is stored; raise `WeightsError` where a byte of it was changed that the plain ones do not show."""

    def walk(self) -> None:
        """Find what can be read of a file that is not sound; a plain one is read as far as it goes."""

    def close(self) -> None:
        """Close the file."""
        release(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def begins_with(file: DataFile, header: bytes) -> bool:
    """Return whether a file begins with a header; one whose first frame is damaged does not."""
    try:
        return file.size >= len(header) and file.read(0, len(header)) == header
    except DamagedFrame:
        return False


def unfetched(file: DataFile, entry: FileEntry) -> LfsPointer | None:
    """Return the error for a plain file in the place of which a Git LFS pointer lies, None for any other."""
    # A pointer is small: no other file is opened up to see whether it is one.
    if file.compressed or file.size == entry.bytes or file.size > MAX_POINTER:
        return None
    return pointer(file.read(0, file.size), entry.sha256, where=file.where)


def check_whole(file: DataFile, entry: FileEntry) -> int:
    """Return where the data of a file begins; raise `WeightsError` where its size or header is not the manifest's."""
    if said := unfetched(file, entry):
        raise said
    file.check_layout()
    if file.size != entry.bytes:
        raise WrongSize(
            f"has {file.size:,} bytes, the manifest says {entry.bytes:,}",
            where=file.where,
            fix="copy it again or re-save it",
        )
    header, _ = entry.header
    if not begins_with(file, header):
        # Of a file that begins with none at all more can be said.
        with contextlib.suppress(DamagedFrame):
            parse_header(file.read, file.size, where=file.where)
        raise WeightsError(
            "its header is not the one the manifest describes",
            where=file.where,
            fix="copy it again or re-save it",
            code="weights.header",
        )
    return len(header)
