"""An archive as it is written: parts, each in the way that takes least, and then the index."""

import contextlib
import hashlib
import os
from dataclasses import dataclass

from ckptfmt.errors import CkptError, MissingFile
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.files import HUB_WEIGHTS, MANIFEST, WEIGHTS, open_file, open_near, read_exactly, release
from ckptfmt.format.frames import Encoder
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.parse import load_manifest
from ckptfmt.share.pack.coding import encode_part
from ckptfmt.share.pack.cutting import Cut, RunFolder, changed, cuts
from ckptfmt.share.pack.index import LONGEST_CHAIN, MARK, Footer, Index, PackedFile, Part, parse_index, render_index
from ckptfmt.store.write.datafile import write_all

__all__ = ["Writer"]


@dataclass(slots=True)
class _Opened:
    """A file of the run, held open, and what it was then."""

    where: str
    file: int
    size: int
    state: tuple[int, int, int, int]

    def require_unchanged(self) -> None:
        if _state(self.file) != self.state:
            raise changed(self.where)


@dataclass(slots=True)
class _Source:
    """A file that is in the archive already: where its bytes can be had again, and which parts they are."""

    folder: str
    name: str
    numbers: dict[tuple[int, int], int]


class Writer:
    """The archive as it grows. A part that was seen before is not stored again.

    `damaged` are the files whose bytes are not those of their checkpoint's manifest; they are packed as they are.
    """

    def __init__(self, file: int, level: int) -> None:
        self.file = file
        self.files: list[PackedFile] = []
        self.damaged: list[str] = []
        self._encoder = Encoder(level)
        self._digest = new_blake3()
        self._parts: list[Part] = []
        self._depths: list[int] = []
        self._known: dict[bytes, int] = {}
        self._by_digest: dict[str, dict[str, _Source]] = {}
        self._last: dict[str, dict[str, _Source]] = {}
        self._offset = 0
        self._put(MARK)

    def add_folder(self, folder: RunFolder) -> bool:
        """Add the files of a folder; return whether it is a checkpoint.

        Its files are those of the one checkpoint that lies there, stored as what changed since its parent, or since
        the one before it. Raises `WriteError` where somebody changes it meanwhile.
        """
        with contextlib.ExitStack() as held:
            together = MANIFEST in folder.files
            # Held open before one of them is read: what takes their place from now on is another checkpoint.
            opened = {name: _open(folder, name, held) for name in folder.files} if together else {}
            manifest = _manifest(folder) if together else None
            beside = os.path.dirname(folder.path)
            parent = self._parent(manifest) or self._last.get(beside, {})
            added = {}
            for name in folder.files:
                with contextlib.ExitStack() as alone:
                    file = opened.get(name) or _open(folder, name, alone)
                    entry = manifest.files.get(WEIGHTS if name == HUB_WEIGHTS else name) if manifest else None
                    numbers = self._add(file, f"{folder.path}/{name}".lstrip("/"), entry, parent.get(name))
                    added[name] = _Source(folder.place, name, numbers)
            if together:
                _require_current(folder, opened)
        if manifest is not None:
            self._last[beside] = self._by_digest[manifest.manifest_digest] = added
        return manifest is not None

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

    def _add(
        self, opened: _Opened, path: str, entry: FileEntry | None, parent: _Source | None
    ) -> dict[tuple[int, int], int]:
        """Add a file; return the numbers of its parts by where they begin and their size."""
        before = _reopen(parent) if parent else None
        try:
            hasher, sha256 = new_blake3(), hashlib.sha256()
            numbers: dict[tuple[int, int], int] = {}
            for cut in cuts(opened.size, entry):
                data = read_exactly(opened.file, cut.begin, cut.size, where=opened.where)
                hasher.update(data)
                if entry is not None:
                    sha256.update(data)
                numbers[cut.begin, cut.size] = self._store(data, cut, parent, before)
            opened.require_unchanged()
        finally:
            if before is not None:
                release(before)
        if entry is not None and sha256.hexdigest() != entry.sha256:
            self.damaged.append(path)
        self.files.append(PackedFile(path, opened.size, hasher.hexdigest(), tuple(numbers.values())))
        return numbers

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


def _open(folder: RunFolder, name: str, held: contextlib.ExitStack) -> _Opened:
    where = os.path.join(folder.place, name)
    try:
        file, size = open_file(folder.descriptor, name, where=folder.place)
    except MissingFile:
        raise changed(where) from None
    held.callback(release, file)
    return _Opened(where, file, size, _state(file))


def _reopen(source: _Source) -> int:
    folder = open_near(source.folder)
    try:
        return open_file(folder, source.name, where=source.folder)[0]
    finally:
        release(folder)


def _manifest(folder: RunFolder) -> Manifest | None:
    """Return the manifest of a checkpoint; None for one that is damaged, whose files are kept all the same."""
    try:
        return load_manifest(folder.descriptor, where=folder.place)
    except CkptError:
        return None


def _require_current(folder: RunFolder, opened: dict[str, _Opened]) -> None:
    """Raise `WriteError` where a name does not stand any more for what was opened under it."""
    try:
        current = os.path.samestat(os.stat(folder.place), os.fstat(folder.descriptor))
    except FileNotFoundError:
        current = False
    if not current:
        raise changed(folder.place)
    for name, file in opened.items():
        try:
            there = os.stat(name, dir_fd=folder.descriptor)
        except FileNotFoundError:
            raise changed(file.where) from None
        if not os.path.samestat(there, os.fstat(file.file)):
            raise changed(file.where)
        file.require_unchanged()


def _state(file: int) -> tuple[int, int, int, int]:
    info = os.fstat(file)
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino
