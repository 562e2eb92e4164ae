"""An archive as it is written: parts, each in the way that takes least, and then the index."""

import os
from dataclasses import dataclass

from ckptfmt.errors import WriteError
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.files import open_file, open_near, read_exactly, release
from ckptfmt.format.frames import Encoder
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.share.pack.coding import encode_part
from ckptfmt.share.pack.cutting import Cut, RunFolder, cuts
from ckptfmt.share.pack.index import LONGEST_CHAIN, MARK, Footer, Index, PackedFile, Part, parse_index, render_index
from ckptfmt.store.write.datafile import write_all

__all__ = ["Writer"]


@dataclass(slots=True)
class _Source:
    """A file that is in the archive already: where its bytes can be had again, and which parts they are."""

    folder: str
    name: str
    numbers: dict[tuple[int, int], int]


class Writer:
    """The archive as it grows. A part that was seen before is not stored again."""

    def __init__(self, file: int, level: int) -> None:
        self.file = file
        self.files: list[PackedFile] = []
        self._encoder = Encoder(level)
        self._digest = new_blake3()
        self._parts: list[Part] = []
        self._depths: list[int] = []
        self._known: dict[bytes, int] = {}
        self._by_digest: dict[str, dict[str, _Source]] = {}
        self._last: dict[str, dict[str, _Source]] = {}
        self._offset = 0
        self._put(MARK)

    def add_folder(self, run: str, folder: RunFolder) -> None:
        """Add the files of a folder; a checkpoint's as what changed since its parent, or since the one before it."""
        beside = os.path.dirname(folder.path)
        parent = self._parent(folder.manifest) or self._last.get(beside, {})
        added = {}
        for name in folder.files:
            entry = folder.manifest.files.get(name) if folder.manifest else None
            path = f"{folder.path}/{name}".lstrip("/")
            added[name] = self._add(os.path.join(run, folder.path), name, path, entry, parent.get(name))
        if folder.manifest is not None:
            self._last[beside] = self._by_digest[folder.manifest.manifest_digest] = added

    def finish(self, run: str, folders: tuple[str, ...]) -> int:
        """Write the index and the footer, flushed; return the size of the archive."""
        text = render_index(Index(run, folders, tuple(self.files), tuple(self._parts)))
        offset, frame = self._offset, self._encoder.shrink(text)
        self._put(frame)
        footer = Footer(offset, len(frame), len(text), new_blake3(text).digest(), b"")
        # What a reader refuses is never published.
        parse_index(text, footer, run)
        self._put(footer.begin())
        self._put(self._digest.digest())
        os.fsync(self.file)
        return self._offset

    def _parent(self, manifest: Manifest | None) -> dict[str, _Source] | None:
        lineage = manifest.lineage if manifest else None
        return self._by_digest.get(lineage.parent) if lineage and lineage.parent else None

    def _add(self, place: str, name: str, path: str, entry: FileEntry | None, parent: _Source | None) -> _Source:
        file, size = _open(place, name)
        before = _open(parent.folder, parent.name)[0] if parent else None
        try:
            state, hasher, where = _state(file), new_blake3(), os.path.join(place, name)
            numbers: dict[tuple[int, int], int] = {}
            for cut in cuts(size, entry):
                data = read_exactly(file, cut.begin, cut.size, where=where)
                hasher.update(data)
                numbers[cut.begin, cut.size] = self._store(data, cut, parent, before)
            if _state(file) != state:
                raise WriteError("changed while it was packed", where=where, fix="pack it again")
        finally:
            release(file)
            if before is not None:
                release(before)
        self.files.append(PackedFile(path, size, hasher.hexdigest(), tuple(numbers.values())))
        return _Source(place, name, numbers)

    def _store(self, data: bytes, cut: Cut, parent: _Source | None, before: int | None) -> int:
        """Return the number of a part that holds `data`, which is stored if no part does."""
        digest = new_blake3(data).digest()
        if digest in self._known:
            return self._known[digest]
        number = parent.numbers.get((cut.begin, cut.size), -1) if parent else -1
        base = None
        if parent is not None and before is not None and number >= 0 and self._depths[number] < LONGEST_CHAIN:
            base = read_exactly(before, cut.begin, cut.size, where=parent.folder)
        frame, width, differs = encode_part(self._encoder, data, cut.width, base)
        self._depths.append(self._depths[number] + 1 if differs else 0)
        self._parts.append(Part(self._offset, len(frame), len(data), width, number if differs else -1))
        self._put(frame)
        self._known[digest] = len(self._parts) - 1
        return len(self._parts) - 1

    def _put(self, data: bytes) -> None:
        write_all(self.file, data)
        self._digest.update(data)
        self._offset += len(data)


def _open(place: str, name: str) -> tuple[int, int]:
    folder = open_near(place)
    try:
        return open_file(folder, name, where=place)
    finally:
        release(folder)


def _state(file: int) -> tuple[int, int, int, int]:
    info = os.fstat(file)
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino
