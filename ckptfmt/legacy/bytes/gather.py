"""Strided elements of a source, streamed in row-major order through bounded reads."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Literal

__all__ = ["cost", "dense", "stream", "swapped"]

# A tile is gathered from one read of at most this many bytes, and from several smaller ones beyond it, or where
# those are cheaper: its elements may lie far apart.
_SPAN = 16 << 20
# Strided elements are gathered into larger parts than dense ones: each may span the whole storage.
_CHUNK, _TILE = 1 << 20, 8 << 20
# Bytes that are read in the time of one small copy.
_READ = 4096
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


def cost(shape: Sequence[int], strides: Sequence[int], width: int) -> int:
    """Return what gathering a tensor costs that is not dense, in small copies of some elements each."""
    dims = _merged(shape, strides)
    if math.prod(shape) == 0 or not dims:
        return 1
    cut, step = _cut(dims, max(1, _TILE // width))
    tiles = math.prod(n for n, _ in dims[:cut]) * -(-dims[cut][0] // step)
    outer, inner = _split(_moves([(step, dims[cut][1]), *dims[cut + 1 :]]), width)
    return tiles * math.prod(n for n, _, _ in outer) * _once(inner, width)


def stream(
    read: _Read, shape: Sequence[int], strides: Sequence[int], offset: int, width: int, size: int
) -> Iterator[bytes]:
    """Yield the elements of `width` bytes each, row-major, in chunks of about `size` bytes, 0: what costs least.

    `read(offset, size)` gives bytes of the source; `offset` and `strides` count elements.
    """
    if math.prod(shape) == 0:
        return
    dims = _merged(shape, strides) or [(1, 1)]
    if len(dims) == 1 and dims[0][1] == 1:
        room = max(1, (size or _CHUNK) // width)
        for start in range(0, dims[0][0], room):
            yield read((offset + start) * width, min(room, dims[0][0] - start) * width)
        return
    for base, tile in _tiles(dims, offset, max(1, (size or _TILE) // width)):
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


def _cut(dims: list[_Dim], room: int) -> tuple[int, int]:
    """Return the dimension along which parts of at most `room` elements are cut, and the length of a part in it."""
    cut = len(dims) - 1
    inner = 1
    while cut > 0 and inner * dims[cut][0] <= room:
        inner *= dims[cut][0]
        cut -= 1
    return cut, min(max(1, room // inner), dims[cut][0])


def _tiles(dims: list[_Dim], offset: int, room: int) -> Iterator[tuple[int, list[_Dim]]]:
    """Yield (first element, dimensions) of parts that follow each other in row-major order."""
    cut, step = _cut(dims, room)
    n, stride = dims[cut]
    for base in _offsets(dims[:cut]):
        for start in range(0, n, step):
            yield offset + base + start * stride, [(min(step, n - start), stride), *dims[cut + 1 :]]


def _offsets(dims: Sequence[_Dim]) -> Iterator[int]:
    """Yield the element offsets of every index, the last dimension running fastest."""
    return map(sum, product(*([i * stride for i in range(n)] for n, stride in dims)))


def _moves(dims: list[_Dim]) -> list[_Move]:
    moves: list[_Move] = []
    total = 1
    for n, stride in reversed(dims):
        moves.append((n, stride, total))
        total *= n
    return moves


def _split(moves: list[_Move], width: int) -> tuple[list[_Move], list[_Move]]:
    """Return (dimensions whose every index is read by itself, those that one read spans), at the least cost."""
    # The dimensions whose elements lie farthest apart are those worth reading one by one.
    by_extent = sorted(moves, key=lambda move: (move[0] - 1) * move[1], reverse=True)
    parts = [(by_extent[:k], by_extent[k:]) for k in range(len(by_extent) + 1)]
    fitting = [part for part in parts if _span(part[1]) * width <= _SPAN]
    # There is always one that fits: the one that reads every element by itself.
    return min(fitting, key=lambda part: math.prod(n for n, _, _ in part[0]) * _once(part[1], width))


def _span(moves: list[_Move]) -> int:
    return sum((n - 1) * stride for n, stride, _ in moves) + 1


def _once(moves: list[_Move], width: int) -> int:
    """Return the cost of one read and of what is copied from it."""
    lengths = [n for n, _, _ in moves]
    return 1 + _span(moves) * width // _READ + math.prod(lengths) // max(lengths, default=1)


def _gather(read: _Read, base: int, dims: list[_Dim], width: int) -> bytes:
    out = bytearray(math.prod(n for n, _ in dims) * width)
    target = memoryview(out).cast(_FORMATS[width])
    outer, inner = _split(_moves(dims), width)
    size = _span(inner) * width
    starts = _offsets([(n, stride) for n, stride, _ in outer])
    for start, at in zip(starts, _offsets([(n, step) for n, _, step in outer]), strict=True):
        data = read((base + start) * width, size)
        _copy(memoryview(data).cast(_FORMATS[width]), inner, target, at, width)
    return bytes(out)


def _copy(source: memoryview, moves: list[_Move], out: memoryview, at: int, width: int) -> None:
    """Copy strided runs along the longest dimension; memoryview slices do the work in C."""
    # The longest run in one slice: fewer steps of the loop in Python.
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
            # A stride of 0 repeats one element, and a slice of step 0 is none.
            out[target] = memoryview(source[a : a + 1].tobytes() * n).cast(_FORMATS[width])
