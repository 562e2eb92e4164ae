"""An archive of a run opened for reading: its index, and any file of it without the others."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Self

from ckptfmt.errors import CkptError, Unreadable, WeightsError, printable
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.files import open_file, open_near, read_exactly, release
from ckptfmt.format.frames import decode
from ckptfmt.share.pack.coding import restore_part
from ckptfmt.share.pack.index import FOOTER, MARK, BadArchive, Footer, PackedFile, parse_index

__all__ = ["Archive"]

# Parts that were read lately: a file after its parent needs the parent's again.
_KEPT_BYTES = 192 << 20
_BLOCK = 1 << 20


class Archive:
    """An archive, held open; use it as a context manager, or call `close()`.

    What is read is held against its digest before it counts: each file against its own, and with `check_whole`
    every byte there is. Raises `BadArchive` for what is none or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        parent, name = os.path.split(os.path.abspath(self.path))
        folder = open_near(parent)
        try:
            self._descriptor, self.bytes = open_file(folder, name, where=parent)
        except WeightsError as e:
            raise CkptError(e.what, where=self.path, fix="check the path", code=e.code) from None
        finally:
            release(folder)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0
        try:
            self._footer = self._read_footer()
            self.index = parse_index(self._read_index(), self._footer, self.path)
        except BaseException:
            self.close()
            raise

    def check_whole(self) -> None:
        """Read every byte; raise `BadArchive` where one was changed."""
        hasher, end = new_blake3(), self.bytes - FOOTER.size
        for begin in range(0, end, _BLOCK):
            hasher.update(self._read(begin, min(_BLOCK, end - begin)))
        hasher.update(self._footer.begin())
        if hasher.digest() != self._footer.whole:
            raise BadArchive("a byte of it was changed", where=self.path)

    def find(self, name: str) -> tuple[PackedFile, ...]:
        """Return the file of that path, or all files below that folder; raise `CkptError` where there is none."""
        wanted = name.strip("/")
        found = tuple(f for f in self.index.files if f.path == wanted or f.path.startswith(f"{wanted}/"))
        if not found:
            known = {path for file in self.index.files for path in (file.path, file.path.rpartition("/")[0]) if path}
            near = get_close_matches(wanted, sorted(known), n=1)
            fix = (
                f"did you mean '{printable(near[0])}'?"
                if near
                else f"it holds {len(self.index.files):,} files of other names"
            )
            raise CkptError(f"holds no '{printable(name)}'", where=self.path, fix=fix, code="pack.missing")
        return found

    def read(self, file: PackedFile) -> Iterator[bytes]:
        """Yield the bytes of a file in parts; the last step raises `BadArchive` if their digest is wrong."""
        hasher = new_blake3()
        for number in file.parts:
            data = self._part(number)
            hasher.update(data)
            yield data
        if hasher.hexdigest() != file.blake3:
            raise BadArchive(f"{file.path}: bytes do not match the index", where=self.path)

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if self._descriptor >= 0:
            release(self._descriptor)
            self._descriptor = -1
        self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _part(self, number: int) -> bytes:
        """Return the bytes of a part, those that it is the difference to first."""
        chain = []
        while number >= 0 and number not in self._kept:
            chain.append(number)
            number = self.index.parts[number].base
        data = None
        if number >= 0:
            data = self._kept[number]
            self._kept.move_to_end(number)
        for number in reversed(chain):
            part = self.index.parts[number]
            try:
                frame = self._read(part.offset, part.stored)
                data = restore_part(frame, part.size, part.width, data)
            except WeightsError:
                raise BadArchive(f"part {number:,} is damaged", where=self.path) from None
            self._keep(number, data)
        assert data is not None
        return data

    def _keep(self, number: int, data: bytes) -> None:
        self._kept[number] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > _KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)

    def _read_footer(self) -> Footer:
        if self.bytes < len(MARK) + FOOTER.size or self._read(0, len(MARK)) != MARK:
            raise BadArchive("is no archive of a run", where=self.path, fix="make one with: ckpt pack RUN FILE")
        return Footer.parse(self._read(self.bytes - FOOTER.size, FOOTER.size), self.bytes, self.path)

    def _read_index(self) -> bytes:
        try:
            return bytes(decode(self._read(self._footer.offset, self._footer.stored), self._footer.size))
        except Unreadable:
            raise
        except WeightsError:
            raise BadArchive("its index is damaged", where=self.path) from None

    def _read(self, offset: int, size: int) -> bytes:
        return read_exactly(self._descriptor, offset, size, where=self.path)
