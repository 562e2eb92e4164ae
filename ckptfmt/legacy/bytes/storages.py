"""Storages: tensor descriptions of legacy files turned into bytes.

A description says where a tensor's elements lie in a storage. Every bound is checked in Python's integers
before a byte is read, so that no description reaches outside its storage or expands without end.
"""

import math
import struct
from collections.abc import Hashable, Iterator
from dataclasses import field, replace
from typing import Any

from ckptfmt.errors import SourceError, TooCostly, printable
from ckptfmt.format.dtypes import DTYPES, bits_of, by_storage, storage_bits
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes import gather
from ckptfmt.legacy.bytes.blocks import Block
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["STORAGE_DTYPES", "LegacyTensor", "Storage", "StorageId", "item_size", "storage_id"]

# What torch and NumPy allow.
_MAX_RANK = 64
_MAX_LENGTH = 2**63 - 1
# Where there are no elements nothing else bounds the numbers, of which dictionaries' keys are made.
_MAX_EMPTY = 2**31
# What a view may expand to beyond its storage (stride 0, overlaps): honest expanded biases are far below it.
_FREE_EXPANSION = 128 << 20
_EXPANSION = 4

# Storage classes as pickles name them, and the dtype of their elements; None: bytes without a type.
STORAGE_DTYPES: dict[str, str | None] = {
    **{f"torch.{name}Storage": dtype for name, dtype in by_storage().items()},
    **{f"torch.cuda.{name}Storage": dtype for name, dtype in by_storage().items()},
    "torch.UntypedStorage": None,
    "torch.storage.UntypedStorage": None,
    "torch.storage._UntypedStorage": None,
}


def item_size(dtype: str | None) -> int:
    """Return the bytes of one element; an untyped storage counts bytes."""
    if dtype is None:
        return 1
    bits = storage_bits(dtype)
    if bits == 0 or bits % 8:
        raise SourceError(f"holds elements of {dtype}, which are not read here", code="source.dtype")
    return bits // 8


@record(eq=False)
class Storage:
    """A run of elements of a source; `dtype` is None where only the tensors in it know theirs."""

    key: str
    dtype: str | None
    # Where its block lies in memory is no part of what it is: it would stand in names made of a tensor.
    data: Block | None = field(repr=False)
    big_endian: bool = False
    device: str = "cpu"


@record
class StorageId:
    """What a pickle says of a storage it refers to: its key, dtype, device and number of elements."""

    key: str
    dtype: str | None
    device: str
    numel: int
    view: tuple[str, int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Return the size of the whole storage."""
        return self.numel * item_size(self.dtype)


def storage_id(pid: Any) -> StorageId:
    """Return what a persistent id of kind "storage" says.

    `pid` is `("storage", class, key, location, numel)` as archives have it, or with a view `(key, offset,
    numel)` or None behind it as streams have it. Raises `SourceError` for anything else.
    """
    match pid:
        case ("storage", Opaque(kind="global", name=name), str(key), str(device), int(numel), *rest) if (
            name in STORAGE_DTYPES and len(rest) <= 1 and type(numel) is int and 0 <= numel <= _MAX_LENGTH
        ):
            return StorageId(key, STORAGE_DTYPES[name], device, numel, _view(rest[0]) if rest else None)
    raise SourceError("its pickle refers to a storage in a way that torch does not", code="source.storage")


def _view(value: Any) -> tuple[str, int, int] | None:
    match value:
        case None:
            return None
        case (str(key), int(offset), int(numel)) if offset >= 0 and numel >= 0:
            return key, int(offset), int(numel)
    raise SourceError("its pickle refers to a part of a storage in a way that torch does not", code="source.storage")


@record(eq=False)
class LegacyTensor:
    """A tensor described by its place in a storage; `strides` and `offset` count elements.

    `dtype` is safetensors' name for it. `turned` are the dimensions of the source in the order in which they stand
    here, () where they were not turned; `source` is its name there where that is another, and `was` the tensor as it
    stood there. Raises `SourceError` when it is made, if the description is contradictory, reaches outside its storage
    or expands to far more than the storage holds.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage
    turned: tuple[int, ...] = ()
    source: str = ""
    was: "LegacyTensor | None" = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise _bad(f"has dtype {printable(self.dtype, 40)}, which safetensors has not", "source.dtype")
        if bits_of(self.dtype) % 8:
            raise _bad(f"has dtype {self.dtype}, which is not read here", "source.dtype")
        if self.storage.dtype not in (None, self.dtype):
            raise _bad(f"is {self.dtype}, its storage is {self.storage.dtype}")
        numbers = (*self.shape, *self.strides, self.offset)
        if not all(type(n) is int and 0 <= n <= _MAX_LENGTH for n in numbers):
            raise _bad("has a length, stride or offset that is no whole number from 0 up")
        if len(self.shape) != len(self.strides) or len(self.shape) > _MAX_RANK:
            raise _bad(f"has {len(self.shape)} dimensions and {len(self.strides)} strides")
        have = self.storage.data.size if self.storage.data is not None else 0
        if not self.size and max(numbers) > _MAX_EMPTY:
            raise _bad("has no elements, but a length or stride that no tensor has")
        if self.size and (self._last() + 1) * self.width > have:
            raise _bad(f"reaches to byte {(self._last() + 1) * self.width:,} of a storage of {have:,} bytes")
        if self.nbytes > _EXPANSION * have + _FREE_EXPANSION:
            raise TooCostly(f"a tensor expands {have:,} bytes to {self.nbytes:,}")

    def _last(self) -> int:
        return self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))

    @property
    def size(self) -> int:
        """Return how many elements there are."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Return the bytes of one element."""
        return bits_of(self.dtype) // 8

    @property
    def nbytes(self) -> int:
        """Return how many bytes the tensor takes when it is written without holes."""
        return self.size * self.width

    @property
    def identity(self) -> Hashable:
        """Return what is equal for two tensors that are the same elements of the same storage."""
        # The stride of a dimension of one element leads nowhere, and writers fill in what they like.
        strides = tuple(s for n, s in zip(self.shape, self.strides, strict=True) if n > 1)
        return (self.storage, self.dtype, self.offset, self.shape, strides)

    def chunks(self, size: int = 0) -> Iterator[bytes]:
        """Yield the elements, row-major and little-endian, bit for bit, in parts of about `size` bytes.

        Without a size they have 1 MiB, or 8 where elements must be gathered.
        """
        data = self.storage.data
        if data is None or not self.size:
            return
        # A complex number is two floats, each turned by itself.
        word = self.width // 2 if self.dtype == "C64" else self.width
        for chunk in gather.stream(data.read, self.shape, self.strides, self.offset, self.width, size):
            yield gather.swapped(chunk, word) if self.storage.big_endian else chunk

    # Layers that are looked at whole are smaller; the largest are streamed by `chunks`.
    def read(self, limit: int = 64 << 20) -> bytes:
        """Return all bytes of a small tensor; raise `SourceError` beyond `limit` bytes."""
        if self.nbytes > limit:
            raise TooCostly(f"a tensor takes {self.nbytes:,} bytes, more than the {limit:,} asked for")
        return b"".join(self.chunks())

    # Whose values are looked at are supports, levels and clamps: some hundreds of numbers.
    def numbers(self, limit: int = 4096) -> list[float] | list[int]:
        """Return the values of a small tensor of real numbers, row-major.

        Raises `SourceError` for more than `limit` elements and for dtypes without a value here.
        """
        if self.size > limit:
            raise TooCostly(f"a tensor has {self.size:,} elements, more than the {limit:,} asked for")
        return _decode(self.dtype, self.read())

    def rows(self, start: int, stop: int) -> "LegacyTensor":
        """Return the part from `start` to `stop` of the first dimension."""
        if not self.shape or not 0 <= start <= stop <= self.shape[0]:
            raise _bad(f"of shape {self.shape} has no rows {start} to {stop}")
        offset = self.offset + start * self.strides[0] if stop > start else self.offset
        return replace(self, shape=(stop - start, *self.shape[1:]), offset=offset)

    def turn(self, axes: tuple[int, ...]) -> "LegacyTensor":
        """Return the same elements with the dimensions in another order."""
        shape, strides = tuple(self.shape[i] for i in axes), tuple(self.strides[i] for i in axes)
        return replace(self, shape=shape, strides=strides, turned=axes, was=self.was or self)

    def split_last(self, sizes: tuple[int, ...]) -> "LegacyTensor":
        """Return the same elements with the last dimension as several, the last of which runs fastest."""
        (*shape, length), (*strides, step) = self.shape, self.strides
        if math.prod(sizes) != length:
            raise _bad(f"of {length} columns is not split into {sizes}")
        inner = [step * math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
        return replace(self, shape=(*shape, *sizes), strides=(*strides, *inner))

    def squeeze(self) -> "LegacyTensor":
        """Return the same elements without the dimensions of length 1; a lone element keeps one of them."""
        kept = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1] or [(1, 1)][: len(self.shape)]
        return replace(self, shape=tuple(n for n, _ in kept), strides=tuple(s for _, s in kept))


def _decode(dtype: str, data: bytes) -> list[float] | list[int]:
    if dtype == "BF16":
        # A bfloat16 is the upper half of a float32.
        return [struct.unpack("<f", b"\0\0" + data[i : i + 2])[0] for i in range(0, len(data), 2)]
    if dtype in DTYPES and (bits := DTYPES[dtype].float) is not None and bits_of(dtype) == 8:
        return [bits.number(byte) for byte in data]
    form = DTYPES[dtype].struct if dtype in DTYPES else ""
    if not form:
        raise _bad(f"is {dtype}, whose values are not read here", "source.dtype")
    return list(struct.unpack(f"<{len(data) // struct.calcsize(form)}{form}", data))


def _bad(what: str, code: str = "source.tensor") -> SourceError:
    return SourceError(f"a tensor {what}", code=code)
