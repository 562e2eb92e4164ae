"""A data file of a checkpoint in a store, plain or compressed; which of them shows when it is first read.

To ask before would cost a request. So the plain file is read, as most are plain, and only where there is none the
names in the folder are asked for.
"""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from ckptfmt.errors import MissingFile
from ckptfmt.format.datafile import Cursor, DataFile, TwoForms
from ckptfmt.format.files import HUB_WEIGHTS, WEIGHTS, compressed_name, read_into
from ckptfmt.remote.folder import FarFolder

__all__ = ["FarData"]

# What is handed on at once of a tensor that came in one request.
_PART = 1 << 20

_Got = TypeVar("_Got")


class _FarPlain(DataFile):
    """A plain file: a tensor is one request."""

    def fill(self, position: int, target: memoryview, taken: Callable[[memoryview], None]) -> None:
        read_into(self.descriptor, position, target, where=self.where)
        for begin in range(0, len(target), _PART):
            taken(target[begin : begin + _PART])


class FarData(DataFile):
    """A data file in a folder of a store; `segments` are its header and its tensors."""

    def __init__(self, folder: FarFolder, name: str, segments: Sequence[int], where: str) -> None:
        super().__init__(folder.open(name), sum(segments), os.path.join(where, name))
        self._folder = folder
        self._name = name
        self._segments = segments
        self._place = where
        # What is read, and what the names have shown it to be, if they were asked for.
        self._form: DataFile | None = None
        self._seen: DataFile | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the plain file."""
        return self._known().size

    @property
    def stored(self) -> int:
        """Return the bytes of the file as it lies there."""
        return self._known().stored

    @property
    def compressed(self) -> bool:
        """Return whether the file is the compressed form."""
        return self._known().compressed

    def cursor(self, position: int) -> Cursor:
        """Return a cursor at a position of the plain file."""
        return _FarCursor(self, position)

    def fill(self, position: int, target: memoryview, taken: Callable[[memoryview], None]) -> None:
        """Read the bytes from a position on into all of `target`; `taken` is given each part."""
        self.ask(lambda form: form.fill(position, target, taken))

    def check_layout(self) -> None:
        """Raise `WeightsError` where what lies around the plain bytes is not as it must be."""
        self.ask(lambda form: form.check_layout())

    def check_stored(self) -> None:
        """Raise `WeightsError` where a stored byte was changed that the plain ones do not show."""
        self.ask(lambda form: form.check_stored())

    def ask(self, read: Callable[[DataFile], _Got]) -> _Got:
        """Return what is read of the file, in the form in which it lies there."""
        if self._form is not None:
            return read(self._form)
        plain = _FarPlain(self.descriptor, sum(self._segments), self.where)
        try:
            got = read(plain)
        except MissingFile:
            return read(self._known())
        self._form = plain
        return got

    def _known(self) -> DataFile:
        """Return the file in the form that the folder's names tell."""
        if self._seen is None:
            self._seen = self._form = self._look()
        return self._seen

    def _look(self) -> DataFile:
        folder, packed = self._folder, compressed_name(self._name)
        names = (self._name, *((HUB_WEIGHTS,) if self._name == WEIGHTS else ()), packed)
        there = [name for name in names if folder.size(name) is not None]
        if len(there) > 1:
            # One of them may have come late, from an upload that lost.
            there = [name for name in there if not folder.was_left(name)]
        elif there:
            folder.take(there[0])
        if not there:
            raise MissingFile(
                "is missing", where=os.path.join(self._place, self._name), fix="copy the checkpoint again"
            )
        where, size = os.path.join(self._place, there[0]), folder.size(there[0]) or 0
        if there[0] != packed:
            if packed in there:
                raise TwoForms("lies there twice, plain and compressed", where=where, fix="remove one of the two")
            return _FarPlain(folder.open(there[0]), size, where)
        # The one import that waits: only who reads a compressed file needs zstd.
        from ckptfmt.format.compressed import CompressedFile

        return CompressedFile(folder.open(packed), size, self._segments, where)


class _FarCursor(Cursor):
    """Reads on from a position in whatever form the file turns out to have."""

    _file: FarData

    def __init__(self, file: FarData, position: int) -> None:
        super().__init__(file, position)
        self._cursor: Cursor | None = None

    def read(self, size: int) -> bytes:
        return self._on(lambda cursor: cursor.read(size))

    def fill(self, target: memoryview) -> None:
        self._on(lambda cursor: cursor.fill(target))

    def _on(self, read: Callable[[Cursor], _Got]) -> _Got:
        if self._cursor is not None:
            return read(self._cursor)

        def begin(form: DataFile) -> _Got:
            cursor = form.cursor(self._position)
            got = read(cursor)
            self._cursor = cursor
            return got

        return self._file.ask(begin)
