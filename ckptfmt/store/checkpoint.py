"""A checkpoint opened for reading: nothing is used that was not verified.

Files are read in bounded parts through descriptors, never mapped: a mapping that another process shrinks
kills the reader with a signal that Python cannot catch.
"""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from ckptfmt.errors import CkptError, ManifestError, Problem, WeightsError, printable
from ckptfmt.families.blueprint import Blueprint, read_blueprint
from ckptfmt.format.files import MANIFEST, WEIGHTS, OpenFolder, open_folder, release
from ckptfmt.format.joined import Piece, pieces
from ckptfmt.format.manifest import FileEntry, Manifest, TensorEntry
from ckptfmt.format.notebook import Folds, Shown
from ckptfmt.format.parse import load_manifest
from ckptfmt.format.safetensors import shape_text, tensor_bytes
from ckptfmt.format.shards import together
from ckptfmt.remote.url import as_path
from ckptfmt.store.datafiles import DataFiles
from ckptfmt.store.outline import in_words, known_problems, outline

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Checkpoint", "open"]

# How often a checkpoint that is replaced in the very moment of opening is opened anew.
_ATTEMPTS = 100


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
        self._data = DataFiles(-1, {}, self.path)
        self._joined: dict[str, dict[str, list[Piece]]] = {}

    def _open(self) -> tuple[Manifest, Blueprint | None]:
        """Open the folder and every file that its manifest lists, all of the one checkpoint."""
        self._folder = open_folder(self.path)
        manifest, network = self._read_manifest()
        self._open_files(manifest)
        return manifest, network

    def _open_files(self, manifest: Manifest) -> None:
        self._data = DataFiles(self._folder, manifest.files, self.path)
        self._data.open_all(self._is_current)

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
    def folder(self) -> OpenFolder:
        """Return the folder that is held open, or what stands for it in a store; it stays the checkpoint's own."""
        return self._folder

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
        return known_problems(self.manifest, self.network, self._data.opened)

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
        """Return what the manifest says of a tensor; a tied name gives the stored one.

        Of a file that lies in parts it is what the whole tensor is; by the name of a part, what is stored there.
        """
        return self._entry(file).tensors[self._stored(name, file)]

    def chunks(self, name: str, file: str = WEIGHTS, *, size: int = 4 << 20, verify: bool = True) -> Iterator[bytes]:
        """Return a tensor's bytes in parts of at most `size`; the last step raises if their digest is wrong."""
        pieces = self._pieces(name, file)
        if not self._is_split(pieces, file):
            return self._data.chunks(pieces[0].file, pieces[0].name, size=size, verify=verify)
        # The import that waits, here and below: only what lies in slices needs NumPy to be read.
        from ckptfmt.store.slices import whole_chunks

        info = self.info(name, file)
        return whole_chunks(tuple(info.shape), info.digest, pieces, self._data, size=size, verify=verify)

    def read(self, name: str, file: str = WEIGHTS, *, verify: bool = True) -> bytearray:
        """Return all of a tensor's bytes, row-major and little-endian, verified before they are handed out."""
        info = self.info(name, file)
        whole = bytearray(tensor_bytes(info.dtype, info.shape))
        self.read_into(memoryview(whole), name, file, verify=verify)
        return whole

    def read_into(self, target: memoryview, name: str, file: str = WEIGHTS, *, verify: bool = True) -> None:
        """Read all of a tensor's bytes into memory of their size; what it holds is of no worth where this raises."""
        pieces = self._pieces(name, file)
        if not self._is_split(pieces, file):
            self._data.read_into(target, pieces[0].file, pieces[0].name, verify=verify)
        else:
            shape = tuple(self.info(name, file).shape)
            self.read_slice(target, name, (0,) * len(shape), shape, file, verify=verify)

    def read_slice(
        self,
        target: memoryview,
        name: str,
        at: tuple[int, ...],
        shape: tuple[int, ...],
        file: str = WEIGHTS,
        *,
        verify: bool = True,
    ) -> None:
        """Read the box of a tensor that begins `at` and has this shape, row-major, into memory of its size.

        Only what holds some of it is read, and verified. Raises `WeightsError` for a box that is not in the tensor.
        """
        from ckptfmt.store.slices import Box, box_into

        box, whole = Box(at, shape), tuple(self.info(name, file).shape)
        if not len(whole) == len(at) == len(shape) or box.overlap(Box((0,) * len(whole), whole)) not in (box, None):
            what = f"{printable(name)} has no elements at {at} of shape {shape}, it is {shape_text(whole)}"
            raise WeightsError(what, where=self._data.place(file), code="weights.shape")
        if box.size:
            box_into(target, box, self._pieces(name, file), self._data, verify=verify)

    def verify(self) -> None:
        """Read every byte of every file; raise `WeightsError` that names the first one that is damaged."""
        self._data.verify()

    def stored_bytes(self, file: str = WEIGHTS) -> int:
        """Return how many bytes a file takes as it lies there, compressed or not; one in parts, those of all."""
        return sum(self._data.open(name).stored for name in self._parts(file))

    def compressed(self, file: str = WEIGHTS) -> bool:
        """Return whether a file lies there in its compressed form; one in parts, whether all do."""
        return all(self._data.open(name).compressed for name in self._parts(file))

    def close(self) -> None:
        """Close every descriptor; closing twice is allowed."""
        self._data.close()
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

    def _entry(self, file: str) -> FileEntry:
        entry = self.manifest.contents.get(file) or self.manifest.files.get(file)
        if entry is None:
            where = self._data.place(file)
            raise WeightsError("this checkpoint has no such file", where=where, code="layout.missing-file")
        return entry

    def _stored(self, name: str, file: str) -> str:
        """Return the name under which a tensor is stored; raise `WeightsError` where the file has none of it."""
        entry = self._entry(file)
        stored = entry.tied.get(name, name)
        if stored not in entry.tensors:
            what = f"holds no tensor '{printable(name)}'"
            raise WeightsError(what, where=self._data.place(file), code="weights.missing")
        return stored

    def _pieces(self, name: str, file: str) -> list[Piece]:
        """Return the stored tensors that make a tensor."""
        stored = self._stored(name, file)
        if file in self.manifest.files:
            return [Piece(file, stored, self.manifest.files[file].tensors[stored])]
        if file not in self._joined:
            self._joined[file] = pieces(self.manifest.files, file)
        return self._joined[file][stored]

    def _is_split(self, found: list[Piece], file: str) -> bool:
        return found[0].entry.slice is not None and file not in self.manifest.files

    def _parts(self, file: str) -> list[str]:
        self._entry(file)
        return [file] if file in self.manifest.files else together(self.manifest.files)[file]


# `ckptfmt.open(path)` reads as the built-in does.
open = Checkpoint
