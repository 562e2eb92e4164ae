"""Files that lie in parts, joined: which slices make a tensor, what the whole file would list, and what contradicts it.

The slices of a tensor are the cells of a grid: every cut goes through the whole of it, so that they cover it once.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ckptfmt.errors import Problem, WeightsError, printable
from ckptfmt.format.dtypes import bits_of
from ckptfmt.format.entries import FileEntry, SplitEntry, TensorEntry, WholeEntry
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import METADATA, build_header, shape_text
from ckptfmt.format.shards import is_sharded, parse_shard, together, unfit_names
from ckptfmt.format.versions import SHARDED_VERSION, minor_of

__all__ = ["Piece", "joined", "pieces", "shard_contradictions"]

Files = Mapping[str, FileEntry]
Split = Mapping[str, SplitEntry]
_CODE = "manifest.split"


@record
class Piece:
    """A stored tensor: all of a named one, or the box of it that begins at `at`."""

    file: str
    name: str
    entry: TensorEntry

    @property
    def at(self) -> tuple[int, ...]:
        """Return where in the whole tensor it begins."""
        return tuple(self.entry.slice.at) if self.entry.slice else (0,) * len(self.entry.shape)

    @property
    def size(self) -> int:
        """Return how many elements it has."""
        return math.prod(self.entry.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its own shape."""
        return tuple(self.entry.shape)


def pieces(files: Files, plain: str) -> dict[str, list[Piece]]:
    """Return the pieces of each stored tensor of a file of `SAFETENSORS`, in the order in which they lie in it."""
    found: dict[str, list[Piece]] = {}
    for file in [plain] if plain in files else together(files).get(plain, ()):
        for name, tensor in files[file].tensors.items():
            found.setdefault(name, []).append(Piece(file, name, tensor))
    for group in found.values():
        group.sort(key=lambda piece: piece.at)
    return found


def joined(files: Files, split: Split) -> dict[str, FileEntry]:
    """Return the entries of the files that the parts would make, by the names of `SAFETENSORS`."""
    groups = together(files)
    return {
        plain: files[plain] if group == [plain] else _joined([files[name] for name in group], split.get(plain))
        for plain, group in groups.items()
    }


def _joined(entries: Iterable[FileEntry], split: SplitEntry | None) -> FileEntry:
    whole = split.tensors if split else {}
    tensors: dict[str, TensorEntry] = {}
    tied: dict[str, str] = {}
    for entry in entries:
        tied |= entry.tied
        for name, tensor in entry.tensors.items():
            known = whole.get(name) if tensor.slice else None
            tensors[name] = _as_tensor(known) if known else tensor
    try:
        header, infos = build_header(((name, t.dtype, t.shape) for name, t in tensors.items()), METADATA)
    except WeightsError:  # no such file can be; whoever looks for contradictions says so
        return FileEntry(bytes=0, sha256="", tensors=tensors, tied=tied)
    placed = {info.name: replace(tensors[info.name], offset=info.begin) for info in infos}
    return FileEntry(bytes=len(header) + (infos[-1].end if infos else 0), sha256="", tensors=placed, tied=tied)


def _as_tensor(whole: WholeEntry) -> TensorEntry:
    return TensorEntry(dtype=whole.dtype, shape=whole.shape, offset=0, digest=whole.digest)


def shard_contradictions(files: Files, split: Split, version: str) -> Iterator[Problem]:
    """Yield where the parts of a manifest's files contradict one another, or what is said of the tensors in slices."""
    for sentence in unfit_names(files):
        yield _problem("$.files", sentence)
    if (is_sharded(files) or split) and minor_of(version) < minor_of(SHARDED_VERSION):
        yield _problem("$.format_version", f"is {version}, files lie in parts since {SHARDED_VERSION}")
    for file, entry in files.items():
        if parse_shard(file) is None and (sliced := [name for name, t in entry.tensors.items() if t.slice]):
            yield _problem(f"$.files.{file}.tensors.{printable(sliced[0])}", "is a slice in a file that is whole")
    if not is_sharded(files) and not split:
        return
    for plain in split.keys() - together(files).keys():
        yield _problem(f"$.split.{plain}", "is of a file that is not listed")
    for plain in together(files):
        yield from _group_contradictions(files, plain, split[plain].tensors if plain in split else {})


def _group_contradictions(files: Files, plain: str, split: Mapping[str, WholeEntry]) -> Iterator[Problem]:
    stored = pieces(files, plain)
    tied: dict[str, str] = {}
    for file in together(files)[plain]:
        for name, kept in files[file].tied.items():
            place = f"$.files.{file}.tied.{printable(name)}"
            if tied.setdefault(name, kept) != kept:
                yield _problem(place, "shares one tensor here and another in another part")
            elif name in stored and name not in files[file].tensors:
                yield _problem(place, "is stored in another part")
    for name in split.keys() - stored.keys():
        yield _problem(f"$.split.{plain}.tensors.{printable(name)}", "is of a tensor that no part holds")
    for name, group in stored.items():
        if why := _piece_contradiction(group, split.get(name)):
            yield _problem(f"$.files.{group[0].file}.tensors.{printable(name)}", why)


def _piece_contradiction(group: list[Piece], whole: WholeEntry | None) -> str:
    """Return why pieces of one name are not one tensor, as the end of a sentence; "" where they are."""
    if whole is None:
        if any(piece.entry.slice for piece in group):
            return "is a slice, and split does not say of what"
        return "lies in several parts" if len(group) > 1 else ""
    shape = tuple(whole.shape)
    for piece in group:
        part = piece.entry.slice
        if part is None:
            return "is no slice, and split says that it lies in slices"
        if tuple(part.of) != shape or piece.entry.dtype != whole.dtype:
            said = f"{piece.entry.dtype} {shape_text(part.of)}"
            return f"is a slice of {said}, split says {whole.dtype} {shape_text(shape)}"
        if not len(shape) == len(part.at) == len(piece.shape):
            return "is a slice with another number of dimensions"
    if whole.dtype and bits_of(whole.dtype) % 8:
        return f"is a slice of {whole.dtype}, whose elements are parts of a byte"
    return "" if _is_grid(group, shape) else f"does not lie in slices that cover {shape_text(shape)} once"


def _is_grid(group: list[Piece], shape: tuple[int, ...]) -> bool:
    cells = {piece.at for piece in group}
    cuts = [sorted({at[d] for at in cells}) for d in range(len(shape))]
    if len(cells) != len(group) or len(cells) != math.prod(map(len, cuts)):
        return False
    sizes = []
    for starts, size in zip(cuts, shape, strict=True):
        if starts[0] != 0 or starts[-1] >= size:
            return False
        sizes.append({begin: end - begin for begin, end in zip(starts, [*starts[1:], size], strict=True)})
    return all(
        piece.shape == tuple(width[start] for width, start in zip(sizes, piece.at, strict=True)) for piece in group
    )


def _problem(where: str, message: str) -> Problem:
    return Problem(_CODE, where, message, "re-save the checkpoint")
