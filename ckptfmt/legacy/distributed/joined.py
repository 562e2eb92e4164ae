"""Parts of a tensor joined into the whole: held against each other first, and read where they lie."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

from ckptfmt.errors import SourceError, printable
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.blocks import Block, Spool
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.bytes.gather import dense
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.pickle.ndarray import strides_of

__all__ = ["Overlap", "Part", "join"]

# Runs of this size are read as fast as a whole; each shorter one costs a step of the budget.
_RUN = 512
# Of parts that overlap, so many pairs are told of: stale shards are some, a forgery may have millions.
_LISTED = 1000


@record
class Part:
    """A part of a tensor: where its first element lies in the whole, its elements, and the file that holds it."""

    at: tuple[int, ...]
    tensor: LegacyTensor
    file: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the lengths of the part."""
        return self.tensor.shape


class Overlap(SourceError):
    """Files hold the same elements of a tensor: `pairs` names the two of each case."""

    code = "source.shard"

    def __init__(self, name: str, pairs: Sequence[tuple[Part, Part]]) -> None:
        self.pairs = [(first.file, second.file) for first, second in pairs]
        super().__init__(f"{' and '.join(self.pairs[0])} both hold the same elements of {printable(name, 80)}")


def join(name: str, shape: tuple[int, ...], parts: Sequence[Part], spool: Spool, budget: Budget) -> LegacyTensor:
    """Return the tensor of a shape that its parts make, each element of which exactly one of them holds.

    Raises `Overlap` for two that hold the same, and `SourceError` for parts that leave a gap, reach outside or are of
    several dtypes.
    """
    if len({part.tensor.dtype for part in parts}) != 1:
        kinds = " and ".join(sorted({part.tensor.dtype for part in parts})) or "no dtype"
        raise _wrong(name, f"is of {kinds}")
    for part in parts:
        if len(part.at) != len(shape) or len(part.shape) != len(shape):
            raise _wrong(name, f"has {len(shape)} dimensions, its part in {part.file} others")
        if any(a < 0 or a + n > whole for a, n, whole in zip(part.at, part.shape, shape, strict=True)):
            raise _wrong(name, f"has the shape {shape}, its part in {part.file} reaches outside of it")
    filled = [part for part in parts if part.tensor.size]
    if pairs := list(islice(_overlaps(filled), _LISTED)):
        raise Overlap(name, pairs)
    held = sum(part.tensor.size for part in filled)
    if held != math.prod(shape):
        raise _wrong(name, f"has {math.prod(shape):,} elements, of which its parts hold {held:,}")
    for part in parts:
        if part.shape == shape:
            return part.tensor
    dtype, width = parts[0].tensor.dtype, parts[0].tensor.width
    block = _Joined(shape, width, [(part.at, part.shape, _plain(part.tensor, spool)) for part in filled], budget)
    return LegacyTensor(dtype, shape, strides_of(shape), 0, Storage(name, dtype, block))


def _wrong(name: str, what: str) -> SourceError:
    return SourceError(f"{printable(name, 80)} {what}", fix="copy the folder again", code="source.shard")


def _overlaps(parts: Sequence[Part]) -> Iterator[tuple[Part, Part]]:
    """Yield pairs of parts that share an element; of a scalar all do."""
    active: list[Part] = []
    for part in sorted(parts, key=lambda part: part.at):
        if part.at:
            active = [other for other in active if other.at[0] + other.shape[0] > part.at[0]]
        for other in active:
            if all(map(_meet, other.at, other.shape, part.at, part.shape)):
                yield other, part
        active.append(part)


def _meet(a: int, n: int, b: int, m: int) -> bool:
    return a < b + m and b < a + n


def _plain(tensor: LegacyTensor, spool: Spool) -> tuple[Block, int]:
    """Return the elements of a part as they are written, row-major and little-endian, and where they begin."""
    data = tensor.storage.data
    if data is not None and dense(tensor.shape, tensor.strides) and not tensor.storage.big_endian:
        return data, tensor.offset * tensor.width
    return spool.add(tensor.chunks()), 0


class _Runs:
    """A part of a tensor as runs of bytes that lie together in the whole, in their order."""

    def __init__(
        self, whole: tuple[int, ...], at: tuple[int, ...], shape: tuple[int, ...], width: int, held: tuple[Block, int]
    ) -> None:
        self._block, self._begin = held
        strides = strides_of(whole)
        # Dimensions that the part has whole belong to a run, and so does the last of the others.
        inner = len(whole)
        while inner and shape[inner - 1] == whole[inner - 1]:
            inner -= 1
        outer = max(inner - 1, 0)
        self.bytes = math.prod(shape[outer:]) * width
        self.count = math.prod(shape[:outer])
        self._first = sum(a * stride for a, stride in zip(at, strides, strict=True)) * width
        self._lengths, self._strides = shape[:outer], [stride * width for stride in strides[:outer]]

    def start(self, run: int) -> int:
        """Return the offset of a run in the whole."""
        place = self._first
        for length, stride in zip(reversed(self._lengths), reversed(self._strides), strict=True):
            run, digit = divmod(run, length)
            place += digit * stride
        return place

    def copy(self, out: bytearray, begin: int) -> None:
        """Copy what of the part lies in the bytes of the whole from `begin` on, as many as `out` has."""
        end = begin + len(out)
        runs = range(self.count)
        first = max(bisect_right(runs, begin, key=self.start) - 1, 0)
        last = bisect_right(runs, end - 1, key=self.start)
        if last <= first:
            return
        low = first * self.bytes + min(max(begin - self.start(first), 0), self.bytes)
        high = last * self.bytes - max(self.start(last - 1) + self.bytes - end, 0)
        if high <= low:
            return
        data = memoryview(self._block.read(self._begin + low, high - low))
        for run in range(first, last):
            place, own = self.start(run), run * self.bytes
            a, b = max(place, begin), min(place + self.bytes, end)
            if b > a:
                out[a - begin : b - begin] = data[own + a - place - low : own + b - place - low]


class _Joined:
    """The bytes of a tensor whose parts lie in several blocks."""

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int,
        parts: Sequence[tuple[tuple[int, ...], tuple[int, ...], tuple[Block, int]]],
        budget: Budget,
    ) -> None:
        self.size = math.prod(shape) * width
        self._parts = [_Runs(shape, at, part, width, held) for at, part, held in parts]
        budget.steps(sum(part.count for part in self._parts if part.bytes < _RUN))

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`."""
        if offset < 0 or size < 0 or offset + size > self.size:
            what = f"ends at byte {self.size:,}, but byte {offset + size:,} is needed"
            raise SourceError(what, code="source.truncated")
        out = bytearray(size)
        for part in self._parts if size else ():
            part.copy(out, offset)
        return bytes(out)
