"""A checkpoint opened for reading: nothing is used that was not verified.

Files are read in bounded parts through descriptors, never mapped: a mapping that another process shrinks
kills the reader with a signal that Python cannot catch.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ckptfmt.errors import CkptError, ManifestError, MissingFile, Problem, WeightsError, printable
from ckptfmt.families.blueprint import Blueprint, read_blueprint
from ckptfmt.format.datafile import DamagedFrame, DataFile, check_whole
from ckptfmt.format.digest import Hasher
from ckptfmt.format.files import MANIFEST, WEIGHTS, OpenFolder, open_folder, release
from ckptfmt.format.manifest import FileEntry, Manifest, TensorEntry
from ckptfmt.format.notebook import Folds, Shown
from ckptfmt.format.opened import open_data
from ckptfmt.format.parse import load_manifest
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.remote.url import as_path
from ckptfmt.store.outline import in_words, known_problems, outline

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Checkpoint", "open"]

# How often a checkpoint that is replaced in the very moment of opening is opened anew.
_ATTEMPTS = 100

_Asked = TypeVar("_Asked")
_Got = TypeVar("_Got")


class Checkpoint(Shown):
    """A checkpoint folder, held open, so that a replacement while it is read goes unnoticed; or one at a URL.

    Use it as a context manager, or call `close()`. Every tensor's BLAKE3 is checked as it is read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._begin(path)
        for attempt in range(_ATTEMPTS):
            try:
                self.manifest, self.network = self._open()
                break
            except CkptError:
                replaced = self._is_open() and not self._is_current()
                self.close()
                # What is wrong may be half of the old and half of the new one; only of one that stays is it the news.
                if not replaced or attempt == _ATTEMPTS - 1:
                    raise
            except BaseException:
                self.close()
                raise

    @classmethod
    def of_written(cls, path: str | os.PathLike[str], folder: int, manifest: Manifest) -> Self:
        """Return the checkpoint that was just written into `folder`, a descriptor that becomes its own.

        `manifest` is what a reader makes of the bytes that lie there, so they are not read again.
        """
        made = cls.__new__(cls)
        made._begin(path)
        made._folder, made.manifest = folder, manifest
        try:
            made.network = read_blueprint(manifest, where=os.path.join(made.path, MANIFEST))
            made._open_files(manifest)
        except BaseException:
            made.close()
            raise
        return made

    def _begin(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path)
        self._folder: OpenFolder = -1
        self._files: dict[str, DataFile] = {}
        self._starts: dict[str, int] = {}
        self._unread: dict[str, set[str]] = {}

    def _open(self) -> tuple[Manifest, Blueprint | None]:
        """Open the folder and every file that its manifest lists, all of the one checkpoint."""
        self._folder = open_folder(self.path)
        manifest, network = self._read_manifest()
        self._open_files(manifest)
        return manifest, network

    def _open_files(self, manifest: Manifest) -> None:
        for file, entry in manifest.files.items():
            try:
                self._files[file] = open_data(self._folder, file, entry.segments, where=self.path)
            except MissingFile:
                # A file that is missing is an error when it is used; one that a replacement removed, now.
                if not self._is_current():
                    raise

    def _read_manifest(self) -> tuple[Manifest, Blueprint | None]:
        where = os.path.join(self.path, MANIFEST)
        try:
            manifest = load_manifest(self._folder, where=self.path)
            network = read_blueprint(manifest, where=where)
        except ManifestError as e:
            # Those who parse know what is wrong; that it stands in a file that can be had again is known here.
            raise e.but(fix=e.fix or "copy it again or re-save it") from None
        return manifest, network

    def __repr__(self) -> str:
        """Return what it is on one line."""
        return f"<Checkpoint {printable(self.path)}: {in_words(self.manifest)}>"

    def _notebook_(self) -> tuple[str, Folds]:
        # Nothing but the manifest is read for it.
        return f"{self.path}: {in_words(self.manifest)}", outline(self.manifest)

    def _is_open(self) -> bool:
        return getattr(self, "_folder", -1) != -1

    def _is_current(self) -> bool:
        """Return whether the folder that is open is still the one at the path; in a store none is replaced."""
        if not isinstance(self._folder, int):
            return True
        try:
            here, there = os.fstat(self._folder), os.stat(self.path)
        except OSError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    @property
    def config(self) -> Any:
        """Return what the network is rebuilt from, a `ModelConfig` or the config of another family.

        None where the network is unknown or its family is not installed; `manifest.config` holds it as it is written.
        """
        return self.network.config if self.network else None

    @property
    def training_info(self) -> Mapping[str, Any]:
        """Return what the training code said of the training."""
        return self.manifest.training_info

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Return what should be known before use: fields of a newer version, a family not here, files not fetched."""
        return known_problems(self.manifest, self.network, self._files)

    @property
    def tensors(self) -> "Mapping[str, np.ndarray]":
        """Return the network's tensors as NumPy arrays, each read and verified when it is asked for."""
        # The one import that waits: commands that look at no number start without NumPy.
        from ckptfmt.store.arrays import Arrays

        return Arrays(self)

    def names(self, file: str = WEIGHTS) -> tuple[str, ...]:
        """Return the names of a file's tensors, tied ones included."""
        entry = self._entry(file)
        return (*entry.tensors, *entry.tied)

    def info(self, name: str, file: str = WEIGHTS) -> TensorEntry:
        """Return what the manifest says of a tensor; a tied name gives the stored one."""
        entry = self._entry(file)
        stored = entry.tied.get(name, name)
        if stored not in entry.tensors:
            raise WeightsError(f"holds no tensor '{printable(name)}'", where=self._where(file), code="weights.missing")
        return entry.tensors[stored]

    def chunks(self, name: str, file: str = WEIGHTS, *, size: int = 4 << 20, verify: bool = True) -> Iterator[bytes]:
        """Return a tensor's bytes in parts of at most `size`; the last step raises if their digest is wrong."""
        info = self.info(name, file)
        opened, start = self._file(file)
        cursor, left = opened.cursor(start + info.offset), tensor_bytes(info.dtype, info.shape)
        hasher = Hasher(info.digest)
        while left:
            part = self._named(name, file, cursor.read, min(size, left))
            if verify:
                hasher.update(part)
            left -= len(part)
            yield part
        if verify:
            self._check(name, file, hasher)

    def read(self, name: str, file: str = WEIGHTS, *, verify: bool = True) -> bytearray:
        """Return all of a tensor's bytes, row-major and little-endian, verified before they are handed out."""
        info = self.info(name, file)
        whole = bytearray(tensor_bytes(info.dtype, info.shape))
        self.read_into(memoryview(whole), name, file, verify=verify)
        return whole

    def read_into(self, target: memoryview, name: str, file: str = WEIGHTS, *, verify: bool = True) -> None:
        """Read all of a tensor's bytes into memory of their size; what it holds is of no worth where this raises."""
        info = self.info(name, file)
        opened, start = self._file(file)
        hasher = Hasher(info.digest)
        try:
            opened.fill(start + info.offset, target, hasher.update if verify else _unseen)
        except DamagedFrame:
            raise self._damaged(name, file) from None
        if verify:
            self._check(name, file, hasher)

    def verify(self) -> None:
        """Read every byte of every file; raise `WeightsError` that names the first one that is damaged."""
        for file, entry in self.manifest.files.items():
            self._unread[file] = set()
            if (opened := self._opened(file)).is_far:
                check_whole(opened, entry)
            for name in entry.tensors:
                for _ in self.chunks(name, file):
                    pass
            self._file(file)[0].check_stored()

    def stored_bytes(self, file: str = WEIGHTS) -> int:
        """Return how many bytes a file takes as it lies there, compressed or not."""
        return self._opened(file).stored

    def compressed(self, file: str = WEIGHTS) -> bool:
        """Return whether a file lies there in its compressed form."""
        return self._opened(file).compressed

    def close(self) -> None:
        """Close every descriptor; closing twice is allowed."""
        for opened in self._files.values():
            opened.close()
        self._files.clear()
        if self._is_open():
            release(self._folder)
            self._folder = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # A loop over checkpoints that forgets to close them must not run out of descriptors.
    def __del__(self) -> None:
        if self._is_open():
            self.close()

    def _where(self, file: str) -> str:
        return os.path.join(self.path, file)

    def _entry(self, file: str) -> FileEntry:
        if file not in self.manifest.files:
            raise WeightsError("this checkpoint has no such file", where=self._where(file), code="layout.missing-file")
        return self.manifest.files[file]

    def _opened(self, file: str) -> DataFile:
        entry = self._entry(file)
        if file not in self._files:
            self._files[file] = open_data(self._folder, file, entry.segments, where=self.path)
        return self._files[file]

    def _file(self, file: str) -> tuple[DataFile, int]:
        """Return (the file, where its data begins), its size and header checked."""
        opened = self._opened(file)
        if file not in self._starts:
            # Of a file in a store the digest of each tensor is enough: size and header would be requests of their own.
            entry = self._entry(file)
            self._starts[file] = len(entry.header[0]) if opened.is_far else check_whole(opened, entry)
        return opened, self._starts[file]

    def _named(self, name: str, file: str, read: Callable[[_Asked], _Got], asked: _Asked) -> _Got:
        """Read; a frame that is damaged is that of the tensor which is read."""
        try:
            return read(asked)
        except DamagedFrame:
            raise self._damaged(name, file) from None

    def _check(self, name: str, file: str, hasher: Hasher) -> None:
        """Hold a tensor's digest against the manifest; once all of a file were read, what it stores against itself.

        A compressed file has bits that no tensor shows.
        """
        entry = self._entry(file)
        stored = entry.tied.get(name, name)
        if not hasher.matches():
            raise self._damaged(name, file)
        if file not in self._unread:
            self._unread[file] = set(entry.tensors)
        unread = self._unread[file]
        if stored in unread:
            unread.remove(stored)
            if not unread:
                self._file(file)[0].check_stored()

    def _damaged(self, name: str, file: str) -> WeightsError:
        return WeightsError(
            f"{printable(name)}: bytes do not match the manifest",
            where=self._where(file),
            fix="copy it again or re-save it",
            code="weights.digest",
        )


def _unseen(_: memoryview) -> None:
    """Take a part of a tensor whose digest nobody wants."""


# `ckptfmt.open(path)` reads as the built-in does.
open = Checkpoint
