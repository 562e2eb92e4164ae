"""Strided elements of a source, streamed in row-major order through bounded reads."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Literal

__all__ = ["copies", "dense", "stream", "swapped"]

# A tile is gathered from one read of at most this many bytes, and from several smaller ones beyond it.
_SPAN = 16 << 20
_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

# (length, stride) of a dimension, in elements.
_Dim = tuple[int, int]
# (length, stride in the source, stride in the output)
_Move = tuple[int, int, int]
_Read = Callable[[int, int], bytes]


def dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Say whether the elements lie in row-major order without holes."""
    dims = _merged(shape, strides)
    return not dims or (len(dims) == 1 and dims[0][1] == 1)


def copies(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Return how many one-dimensional copies gathering such a tensor takes: its cost, known in advance."""
    dims = _merged(shape, strides)
    if math.prod(shape) == 0 or not dims:
        return 1
    return math.prod(n for n, _ in dims) // max(n for n, _ in dims)


def stream(
    read: _Read, shape: Sequence[int], strides: Sequence[int], offset: int, width: int, size: int
) -> Iterator[bytes]:
    """Yield the elements of `width` bytes each, row-major, in chunks of about `size` bytes.

    `read(offset, size)` gives bytes of the source; `offset` and `strides` count elements.
    """
    if math.prod(shape) == 0:
        return
    dims = _merged(shape, strides) or [(1, 1)]
    room = max(1, size // width)
    if len(dims) == 1 and dims[0][1] == 1:
        for start in range(0, dims[0][0], room):
            yield read((offset + start) * width, min(room, dims[0][0] - start) * width)
        return
    for base, tile in _tiles(dims, offset, room):
        yield _gather(read, base, tile, width)


def swapped(data: bytes, width: int) -> bytes:
    """Return the bytes with the order within each `width` of them reversed."""
    if width == 1:
        return data
    words = array(_FORMATS[width], data)
    words.byteswap()
    return words.tobytes()


def _merged(shape: Sequence[int], strides: Sequence[int]) -> list[_Dim]:
    """Return the dimensions without those of length 1, neighbours joined where they are one run."""
    dims: list[_Dim] = []
    for n, stride in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if dims and dims[-1][1] == stride * n:
            dims[-1] = (dims[-1][0] * n, stride)
        else:
            dims.append((n, stride))
    return dims


def _tiles(dims: list[_Dim], offset: int, room: int) -> Iterator[tuple[int, list[_Dim]]]:
    """Yield (first element, dimensions) of parts that follow each other in row-major order."""
    cut = len(dims) - 1
    inner = 1
    while cut > 0 and inner * dims[cut][0] <= room:
        inner *= dims[cut][0]
        cut -= 1
    n, stride = dims[cut]
    step = max(1, room // inner)
    for base in _offsets(dims[:cut]):
        for start in range(0, n, step):
            yield offset + base + start * stride, [(min(step, n - start), stride), *dims[cut + 1 :]]


def _offsets(dims: Sequence[_Dim]) -> Iterator[int]:
    """Yield the element offsets of every index, the last dimension running fastest."""
    return map(sum, product(*([i * stride for i in range(n)] for n, stride in dims)))


def _gather(read: _Read, base: int, dims: list[_Dim], width: int) -> bytes:
    moves: list[_Move] = []
    total = 1
    for n, stride in reversed(dims):
        moves.append((n, stride, total))
        total *= n
    out = bytearray(total * width)
    _place(read, base, moves, memoryview(out).cast(_FORMATS[width]), 0, width)
    return bytes(out)


def _place(read: _Read, base: int, moves: list[_Move], out: memoryview, at: int, width: int) -> None:
    """Copy a tile into `out`, split along its widest dimension until one read spans each part."""
    span = sum((n - 1) * stride for n, stride, _ in moves) + 1
    if span * width <= _SPAN:
        _copy(memoryview(read(base * width, span * width)).cast(_FORMATS[width]), moves, out, at, width)
        return
    widest = max(moves, key=lambda move: (move[0] - 1) * move[1])
    rest = list(moves)
    rest.remove(widest)
    n, stride, step = widest
    for i in range(n):
        _place(read, base + i * stride, rest, out, at + i * step, width)


def _copy(source: memoryview, moves: list[_Move], out: memoryview, at: int, width: int) -> None:
    """Copy strided runs along the longest dimension; memoryview slices do the work in C."""
    run = max(moves, default=(1, 1, 1))
    rest = list(moves)
    if run in rest:
        rest.remove(run)
    n, stride, step = run
    starts = _offsets([(count, inner) for count, inner, _ in rest])
    ends = _offsets([(count, outer) for count, _, outer in rest])
    for a, b in zip(starts, ends, strict=True):
        target = slice(at + b, at + b + (n - 1) * step + 1, step)
        if stride:
            out[target] = source[a : a + (n - 1) * stride + 1 : stride]
        else:
            out[target] = memoryview(source[a : a + 1].tobytes() * n).cast(_FORMATS[width])
