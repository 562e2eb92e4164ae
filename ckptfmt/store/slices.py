"""Tensors that lie in slices: read whole or as any box of them, in parts of bounded memory."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ckptfmt.errors import WeightsError, printable
from ckptfmt.format.digest import Hasher
from ckptfmt.format.dtypes import bits_of
from ckptfmt.format.joined import Piece
from ckptfmt.format.record import record
from ckptfmt.store.datafiles import DataFiles

__all__ = ["Box", "box_into", "whole_chunks", "whole_digest"]


@record
class Box:
    """A part of a tensor: what lies from `at` on, `shape` wide in each dimension."""

    at: tuple[int, ...]
    shape: tuple[int, ...]

    def overlap(self, other: "Box") -> "Box | None":
        """Return what lies in both; None where nothing does."""
        at = tuple(map(max, self.at, other.at))
        ends = map(min, self.ends, other.ends)
        shape = tuple(end - begin for begin, end in zip(at, ends, strict=True))
        return Box(at, shape) if all(size > 0 for size in shape) else None

    @property
    def ends(self) -> tuple[int, ...]:
        """Return where it ends in each dimension."""
        return tuple(begin + size for begin, size in zip(self.at, self.shape, strict=True))

    @property
    def size(self) -> int:
        """Return how many elements it has."""
        return math.prod(self.shape)

    def within(self, outer: "Box") -> tuple[slice, ...]:
        """Return which elements of an outer box these are."""
        return tuple(slice(a - o, a - o + n) for a, o, n in zip(self.at, outer.at, self.shape, strict=True))


def box_into(target: memoryview, box: Box, pieces: Sequence[Piece], files: DataFiles, *, verify: bool = True) -> None:
    """Fill memory of a box's size with its elements; every piece that has some of them is read and verified."""
    width = bits_of(pieces[0].entry.dtype) // 8
    for piece in pieces:
        held = Box(piece.at, piece.shape)
        shared = box.overlap(held)
        if shared is None:
            continue
        # It lies in the target as it lies in the file, so it is read to its place, without a copy.
        if shared == held and _is_run(shared, box):
            begin = _position(shared, box) * width
            part = target[begin : begin + shared.size * width]
            files.read_into(part, piece.file, piece.name, verify=verify)
            continue
        data = np.empty(held.size * width, np.uint8)
        files.read_into(data.data, piece.file, piece.name, verify=verify)
        _elements(target, box, width)[shared.within(box)] = _elements(data.data, held, width)[shared.within(held)]


def whole_chunks(
    shape: tuple[int, ...], digest: str, pieces: Sequence[Piece], files: DataFiles, *, size: int, verify: bool
) -> Iterator[bytes]:
    """Return the bytes of the tensor that pieces make, in parts of about `size`; each piece is read once, in order.

    The last step raises where their digest is wrong: the piece that is damaged is named.
    """
    width = bits_of(pieces[0].entry.dtype) // 8
    held = [(Box(piece.at, piece.shape), files.reader(piece.file, piece.name)) for piece in pieces]
    hasher = Hasher(digest)
    for block in _blocks(Box((0,) * len(shape), shape), max(1, size // width)):
        part = _assembled(block, held, width)
        if verify:
            hasher.update(part)
        yield from (part[begin : begin + size] for begin in range(0, len(part), size))
    if verify and not hasher.matches():
        raise _wrong(pieces, files)


def whole_digest(shape: tuple[int, ...], pieces: Sequence[Piece], files: DataFiles, like: str = "") -> str:
    """Return the digest, by the algorithm of one that is `like` it, of the tensor that pieces make.

    Each of them is verified; raises `WeightsError` that names the one that is damaged.
    """
    hasher = Hasher(like)
    checks = [Hasher(piece.entry.digest) for piece in pieces]
    width = bits_of(pieces[0].entry.dtype) // 8

    def noted(read: Callable[[int], bytes], check: Hasher) -> Callable[[int], bytes]:
        def taken(size: int) -> bytes:
            check.update(part := read(size))
            return part

        return taken

    held = [
        (Box(piece.at, piece.shape), noted(files.reader(piece.file, piece.name), check))
        for piece, check in zip(pieces, checks, strict=True)
    ]
    for block in _blocks(Box((0,) * len(shape), shape), max(1, _BLOCK // width)):
        hasher.update(_assembled(block, held, width))
    for piece, check in zip(pieces, checks, strict=True):
        if not check.matches():
            raise files.damaged(piece.file, piece.name)
    return hasher.text()


# Small enough to be in the processor's cache when it is hashed for the second time.
_BLOCK = 1 << 20


def _assembled(block: Box, held: Sequence[tuple[Box, Callable[[int], bytes]]], width: int) -> bytes:
    """Return the bytes of a block of the whole; of each piece it has the next ones, since both go row by row."""
    shares = [(shared, read) for box, read in held if (shared := block.overlap(box))]
    # The usual case, of slices along the first dimension: one piece has the whole block, and its next bytes are those.
    if len(shares) == 1:
        return shares[0][1](block.size * width)
    data = bytearray(block.size * width)
    elements = _elements(memoryview(data), block, width)
    for shared, read in shares:
        part = read(shared.size * width)
        elements[shared.within(block)] = _elements(memoryview(part), shared, width)
    return bytes(data)


def _blocks(box: Box, most: int) -> Iterator[Box]:
    """Yield boxes of at most `most` elements, each a run of the whole, that are the whole one behind the other."""
    dimension = next((d for d, size in enumerate(box.shape) if size > 1), None)
    if dimension is None or box.size <= most:
        yield box
        return
    row = box.size // box.shape[dimension]
    rows = max(1, most // row)
    for begin in range(0, box.shape[dimension], rows):
        at, shape = list(box.at), list(box.shape)
        at[dimension] += begin
        shape[dimension] = min(rows, box.shape[dimension] - begin)
        part = Box(tuple(at), tuple(shape))
        yield from _blocks(part, most) if row > most else (part,)


def _is_run(inner: Box, outer: Box) -> bool:
    """Return whether a box inside another is one run of its elements, row-major."""
    wide = [d for d, size in enumerate(inner.shape) if size > 1]
    return not wide or all(inner.shape[d] == outer.shape[d] for d in range(wide[0] + 1, len(inner.shape)))


def _position(inner: Box, outer: Box) -> int:
    """Return how many elements of a box come before the first one of a box inside."""
    position = 0
    for begin, start, size in zip(inner.at, outer.at, outer.shape, strict=True):
        position = position * size + begin - start
    return position


def _elements(data: memoryview, box: Box, width: int) -> "np.ndarray":
    """Return memory as the elements of a box, each of `width` bytes."""
    # Opaque ones, not a dimension of bytes: a tensor may have as many dimensions as NumPy knows.
    return np.frombuffer(data, np.dtype((np.void, width))).reshape(box.shape)


def _wrong(pieces: Sequence[Piece], files: DataFiles) -> WeightsError:
    for piece in pieces:
        # Raises where this is the one that is damaged.
        for _ in files.chunks(piece.file, piece.name, size=_BLOCK, verify=True):
            pass
    return WeightsError(
        f"{printable(pieces[0].name)}: its slices are intact, but together they are not the tensor that split lists",
        where=files.place(pieces[0].file),
        fix="re-save the checkpoint",
        code="weights.split",
    )
