"""MessagePack as Flax writes it: maps, lists, numbers and texts, and arrays as an extension (flax.serialization).

The specification is that of msgpack.org. A byte string or an array stays where it lies in the file; every count is
held against the bytes that are left before anything of its size is made.
"""

from typing import Any

from ckptfmt.errors import SourceError
from ckptfmt.format.dtypes import bits_of, by_torch
from ckptfmt.legacy.bytes.blocks import Block, Window
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.bytes.cursor import Cursor, damaged
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.pickle.inert import Opaque
from ckptfmt.legacy.pickle.ndarray import NDARRAY, dtype_of, numbers_of, scalar_of

__all__ = ["begins_as_map", "read_msgpack"]

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
# Arrays of more than a gigabyte are cut by Flax.
_CHUNKED = "__msgpack_chunked_array__"
# NumPy's limit when Flax chose this form.
_MAX_DIMENSIONS = 32
# First byte: (bytes of the number or the count behind it, how to unpack it), by what it begins.
_NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
            0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}  # fmt: skip
_TEXTS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_EXTENSIONS = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_LISTS = {0xDC: ">H", 0xDD: ">I"}
_MAPS = {0xDE: ">H", 0xDF: ">I"}
# Flax calls dtypes as NumPy does, and that as torch does, bfloat16 among them.
_STORED = {name: stored for name, stored in by_torch().items() if not bits_of(stored) % 8}
_NO_NUMBERS = ("object", "str", "bytes", "datetime", "timedelta")
_PLAIN = {0xC0: None, 0xC2: False, 0xC3: True}


def begins_as_map(head: bytes) -> bool:
    """Return whether bytes begin as a map with something in it, and not as a pickle."""
    return head[:1] in (b"\xde", b"\xdf") or bytes((0x81,)) <= head[:1] <= bytes((0x8F,))


def read_msgpack(block: Block, budget: Budget) -> Any:
    """Return the object that fills a block; raise `SourceError` for anything else, `TooCostly` beyond the budget."""
    reader = _Reader(block, budget)
    value = reader.value(0)
    reader.end()
    return value


class _Reader(Cursor):
    """Where reading is in a block."""

    def value(self, depth: int) -> Any:
        """Return the object that begins here."""
        self.begin(depth)
        first = self.take(1)[0]
        # Small numbers are their own first byte: 0 to 127, and -32 to -1.
        if first <= 0x7F or first >= 0xE0:
            return first if first <= 0x7F else first - 0x100
        if first in _PLAIN:
            return _PLAIN[first]
        if first in _NUMBERS:
            return self.number(_NUMBERS[first])
        return self._sized(first, depth)

    def _sized(self, first: int, depth: int) -> Any:
        # Short maps, lists and texts keep their length in the lower bits of the first byte.
        if 0x80 <= first <= 0x8F or first in _MAPS:
            return self._map(first & 0xF if first <= 0x8F else self.number(_MAPS[first]), depth)
        if 0x90 <= first <= 0x9F or first in _LISTS:
            return self._list(first & 0xF if first <= 0x9F else self.number(_LISTS[first]), depth)
        if 0xA0 <= first <= 0xBF or first in _TEXTS:
            return self._string(first & 0x1F if first <= 0xBF else self.number(_TEXTS[first]))
        if first in _BYTES:
            return self.window(self.number(_BYTES[first]))
        if first in _FIXED_EXTENSIONS:
            return self._extension(_FIXED_EXTENSIONS[first], depth)
        if first in _EXTENSIONS:
            return self._extension(self.number(_EXTENSIONS[first]), depth)
        raise damaged(f"has a byte {first:#04x} that begins nothing")

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        self.expect(2 * count)
        found: dict[Any, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, str | int) or key in found:
                raise damaged("has a map with a key that is no text or number, or comes twice")
            self.budget.key(found, key)
            found[key] = self.value(depth + 1)
        if _CHUNKED in found:
            raise _pieces()
        return found

    def _list(self, count: int, depth: int) -> list[Any]:
        self.expect(count)
        return [self.value(depth + 1) for _ in range(count)]

    def _string(self, size: int) -> str:
        try:
            return self.text(size).decode()
        except UnicodeDecodeError:
            raise damaged("holds text that is not UTF-8") from None

    def _extension(self, size: int, depth: int) -> Any:
        kind = self.take(1)[0]
        inner = _Reader(self.window(size), self.budget)
        if kind == _COMPLEX or kind not in (_ARRAY, _SCALAR):
            return inner.block
        parts = inner.value(depth + 1)
        inner.end("an array with ")
        return _array(parts) if kind == _ARRAY else _scalar(parts)


def _array(parts: Any) -> LegacyTensor | Opaque:
    match parts:
        case [list() as shape, str() as dtype, Window() as data] if len(shape) <= _MAX_DIMENSIONS:
            if stored := _STORED.get(dtype.removesuffix("_")):
                return numbers_of(tuple(shape), stored, data)
            # What is not read is told as it is of pickles, so that it is not lost without a word.
            code = "O8" if dtype.startswith(_NO_NUMBERS) else "c16" if dtype == "complex128" else "V1"
            return Opaque("instance", NDARRAY, state=(tuple(shape), dtype_of((code,)), data))
    raise damaged("describes an array in a way that Flax does not")


def _scalar(parts: Any) -> Any:
    match parts:
        # The longest number that is read is a complex one of two doubles.
        case [list() as shape, str() as dtype, Window() as data] if not shape and data.size <= 16:
            code = _code(dtype)
            return scalar_of((dtype_of((code,)), data.read(0, data.size))) if code else None
    raise damaged("describes a number in a way that Flax does not")


def _code(dtype: str) -> str:
    """Return NumPy's code for a dtype by its name, "" for one that is not read."""
    for prefix, letter in (("float", "f"), ("int", "i"), ("uint", "u")):
        digits = dtype.removeprefix(prefix)
        if dtype.startswith(prefix) and digits in ("8", "16", "32", "64"):
            return f"{letter}{int(digits) // 8}"
    return "b1" if dtype in ("bool", "bool_") else ""


def _pieces() -> SourceError:
    return SourceError(
        "holds an array of more than a gigabyte, which Flax wrote in pieces",
        fix="save it with numpy.savez or safetensors",
        code="source.dtype",
    )
