"""The data files of one checkpoint, opened: their stored tensors, each verified as it is read."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from ckptfmt.errors import MissingFile, WeightsError, printable
from ckptfmt.format.datafile import DamagedFrame, DataFile, check_whole
from ckptfmt.format.digest import Hasher
from ckptfmt.format.files import OpenFolder
from ckptfmt.format.manifest import FileEntry, TensorEntry
from ckptfmt.format.opened import open_data
from ckptfmt.format.safetensors import tensor_bytes

__all__ = ["DataFiles"]

# As much at once as a frame holds.
_PART = 4 << 20

_Asked = TypeVar("_Asked")
_Got = TypeVar("_Got")


class DataFiles:
    """The files that a manifest lists, in a folder that is open; `where` names it in errors.

    A tensor is asked for by the file in which it is stored, and by its stored name there.
    """

    def __init__(self, folder: OpenFolder, entries: Mapping[str, FileEntry], where: str) -> None:
        self.where = where
        self.opened: dict[str, DataFile] = {}
        self._folder = folder
        self._entries = entries
        self._starts: dict[str, int] = {}
        self._unread: dict[str, set[str]] = {}

    def open_all(self, is_current: Callable[[], bool]) -> None:
        """Open every file, all of the one checkpoint; one that is missing is an error when it is used."""
        for file in self._entries:
            try:
                self.open(file)
            except MissingFile:
                # One that a replacement removed is an error now.
                if not is_current():
                    raise

    def open(self, file: str) -> DataFile:
        """Return a file that the manifest lists, opened; raise `WeightsError` for any other."""
        if file not in self._entries:
            raise WeightsError("this checkpoint has no such file", where=self.place(file), code="layout.missing-file")
        if file not in self.opened:
            self.opened[file] = open_data(self._folder, file, self._entries[file].segments, where=self.where)
        return self.opened[file]

    def chunks(self, file: str, name: str, *, size: int, verify: bool) -> Iterator[bytes]:
        """Return a tensor's bytes in parts of at most `size`; the last step raises if their digest is wrong."""
        info = self._info(file, name)
        hasher = Hasher(info.digest)
        read, left = self.reader(file, name), tensor_bytes(info.dtype, info.shape)
        while left:
            part = read(min(size, left))
            if verify:
                hasher.update(part)
            left -= len(part)
            yield part
        if verify:
            self._check(file, name, hasher)

    def reader(self, file: str, name: str) -> Callable[[int], bytes]:
        """Return what gives the next so many bytes of a tensor, unverified; a damaged frame is this tensor's."""
        opened, start = self._begun(file)
        cursor = opened.cursor(start + self._info(file, name).offset)
        return lambda size: self._named(file, name, cursor.read, size)

    def read_into(self, target: memoryview, file: str, name: str, *, verify: bool) -> None:
        """Read all of a tensor's bytes into memory of their size; what it holds is of no worth where this raises."""
        info = self._info(file, name)
        opened, start = self._begun(file)
        hasher = Hasher(info.digest)
        try:
            opened.fill(start + info.offset, target, hasher.update if verify else _unseen)
        except DamagedFrame:
            raise self.damaged(file, name) from None
        if verify:
            self._check(file, name, hasher)

    def verify(self) -> None:
        """Read every byte of every file; raise `WeightsError` that names the first one that is damaged."""
        for file, entry in self._entries.items():
            self._unread[file] = set()
            if (opened := self.open(file)).is_far:
                check_whole(opened, entry)
            for name in entry.tensors:
                for _ in self.chunks(file, name, size=_PART, verify=True):
                    pass
            self._begun(file)[0].check_stored()

    def close(self) -> None:
        """Close every file."""
        for opened in self.opened.values():
            opened.close()
        self.opened.clear()

    def place(self, file: str) -> str:
        """Return what names a file in errors."""
        return os.path.join(self.where, file)

    def damaged(self, file: str, name: str) -> WeightsError:
        """Return the error of a tensor whose bytes are not those that were written."""
        return WeightsError(
            f"{printable(name)}: bytes do not match the manifest",
            where=self.place(file),
            fix="copy it again or re-save it",
            code="weights.digest",
        )

    def _info(self, file: str, name: str) -> TensorEntry:
        return self._entries[file].tensors[name]

    def _begun(self, file: str) -> tuple[DataFile, int]:
        """Return (the file, where its data begins), its size and header checked."""
        opened = self.open(file)
        if file not in self._starts:
            # Of a file in a store the digest of each tensor is enough: size and header would be requests of their own.
            entry = self._entries[file]
            self._starts[file] = len(entry.header[0]) if opened.is_far else check_whole(opened, entry)
        return opened, self._starts[file]

    def _named(self, file: str, name: str, read: Callable[[_Asked], _Got], asked: _Asked) -> _Got:
        """Read; a frame that is damaged is that of the tensor which is read."""
        try:
            return read(asked)
        except DamagedFrame:
            raise self.damaged(file, name) from None

    def _check(self, file: str, name: str, hasher: Hasher) -> None:
        """Hold a tensor's digest against the manifest; once all of a file were read, what it stores against itself.

        A compressed file has bits that no tensor shows.
        """
        if not hasher.matches():
            raise self.damaged(file, name)
        if file not in self._unread:
            self._unread[file] = set(self._entries[file].tensors)
        unread = self._unread[file]
        if name in unread:
            unread.remove(name)
            if not unread:
                self._begun(file)[0].check_stored()


def _unseen(_: memoryview) -> None:
    """Take a part of a tensor whose digest nobody wants."""
