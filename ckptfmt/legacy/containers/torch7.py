"""Files of Torch7 (Lua), in their binary form: tables, texts, numbers, tensors, and modules as tables of their fields.

The format is that of torch7's File.lua. Functions in it are bytecode of Lua, which is stepped over, and what they close
over, which is kept. Every count is held against the bytes that are left; an object is known by its number and comes
once.
"""

from typing import Any

from ckptfmt.errors import TooCostly
from ckptfmt.legacy.bytes.blocks import Block
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.bytes.cursor import UNTRUSTED, Cursor, damaged
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage, item_size

__all__ = ["begins_as_torch7", "read_torch7"]

# The numbers by which File.lua says what follows.
_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN = range(6)
# TYPE_FUNCTION, LEGACY_TYPE_RECUR_FUNCTION and TYPE_RECUR_FUNCTION of File.lua.
_FUNCTIONS = (6, 7, 8)
_KINDS = {
    "Float": "F32", "Cuda": "F32", "Double": "F64", "CudaDouble": "F64", "Half": "F16", "CudaHalf": "F16",
    "Byte": "U8", "CudaByte": "U8", "Char": "I8", "CudaChar": "I8", "Short": "I16", "CudaShort": "I16",
    "Int": "I32", "CudaInt": "I32", "Long": "I64", "CudaLong": "I64",
}  # fmt: skip
_MAX_DIMENSIONS, _MAX_OBJECTS = 16, 1 << 20
# The packages of modules, and what of a module is no gradient or buffer of its last pass.
_OF_MODULES = ("nn", "cudnn", "nnx")
_PARAMETERS = ("weight", "bias", "running_mean", "running_var")
# All numbers of a table are doubles in the file; a whole one becomes an integer where 64 bits hold it.
_MOST = 2**63 - 1
# Where what modules hold of a last pass is put, gradients for one: no part of a network, and somebody's all the same.
_PASS, _ROLE = "last pass", "optimizer"


def begins_as_torch7(head: bytes) -> bool:
    """Return whether bytes begin as a table or an object of Torch7, the first of its file."""
    return head.startswith((b"\4\0\0\0\1\0\0\0\3\0\0\0V 1", b"\3\0\0\0\1\0\0\0"))


def read_torch7(block: Block, budget: Budget) -> dict[str, Any]:
    """Return the object that fills a block, and beside it what its modules hold of the last pass, gradients for one.

    Raises `SourceError` for anything else, `TooCostly` beyond the budget.
    """
    reader = _Reader(block, budget)
    value = reader.value(0)
    reader.end()
    return {"": value, _PASS: {_ROLE: reader.passed}} if reader.passed else {"": value}


class _Reader(Cursor):
    """Where reading is in a block, and the objects that were read, by their numbers."""

    def __init__(self, block: Block, budget: Budget) -> None:
        super().__init__(block, budget)
        self._objects: dict[int, Any] = {}
        self.passed: dict[str, LegacyTensor] = {}

    def value(self, depth: int) -> Any:
        """Return the object that begins here."""
        self.begin(depth)
        kind = self._int()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return _plain(self.number("<d"))
        if kind == _STRING:
            return self._string()
        if kind == _BOOLEAN:
            return bool(self._int())
        if kind not in (_TABLE, _TORCH, *_FUNCTIONS):
            raise damaged(f"has an object of the kind {kind}, which Torch7 does not have")
        return self._object(kind, depth)

    def _object(self, kind: int, depth: int) -> Any:
        number = self._int()
        if number in self._objects:
            return self._objects[number]
        if len(self._objects) >= _MAX_OBJECTS:
            raise TooCostly(f"holds more than {_MAX_OBJECTS:,} objects", fix=UNTRUSTED)
        self._objects[number] = None
        if kind == _TABLE:
            found: Any = self._table(depth)
        elif kind == _TORCH:
            found = self._torch(depth)
        else:
            self.window(self._int())
            # What a function closes over may be a network as well as anything else.
            found = self.value(depth + 1) or None
        self._objects[number] = found
        return found

    def _table(self, depth: int) -> dict[Any, Any]:
        count = self._int()
        # A key and an item take at least four bytes each.
        self.expect(8 * count)
        found: dict[Any, Any] = {}
        for _ in range(count):
            key, item = self.value(depth + 1), self.value(depth + 1)
            # What is a key in Lua and none here, or another here as true is 1, is kept under a name of its own.
            if type(key) not in (str, int, float):
                key = f"(entry {len(found) + 1})"
            if key in found:
                raise damaged("has a table with a key twice")
            self.budget.key(found, key)
            found[key] = item
        return found

    def _torch(self, depth: int) -> Any:
        version = self._string()
        name = self._string() if version.startswith("V ") else version
        package, _, kind = name.rpartition(".")
        if package == "torch" and kind.endswith("Tensor") and kind.removesuffix("Tensor") in _KINDS:
            return self._tensor(_KINDS[kind.removesuffix("Tensor")], depth)
        if package == "torch" and kind.endswith("Storage") and kind.removesuffix("Storage") in _KINDS:
            dtype = _KINDS[kind.removesuffix("Storage")]
            return Storage(str(len(self._objects)), dtype, self.window(self._long() * item_size(dtype)))
        fields = self.value(depth + 1)
        return self._module(fields) if package in _OF_MODULES and isinstance(fields, dict) else fields

    def _tensor(self, dtype: str, depth: int) -> LegacyTensor | None:
        rank = self._int()
        if not 0 <= rank <= _MAX_DIMENSIONS:
            raise damaged(f"has a tensor of {rank:,} dimensions")
        sizes = tuple(self._long() for _ in range(rank))
        strides = tuple(self._long() for _ in range(rank))
        # Lua counts from 1.
        offset = self._long() - 1
        storage = self.value(depth + 1)
        if storage is None or not rank:
            return None
        if not isinstance(storage, Storage) or storage.dtype != dtype or offset < 0:
            raise damaged("has a tensor over something that is no storage of its kind")
        tensor = LegacyTensor(dtype, sizes, strides, offset, storage)
        self.budget.tensor(tensor)
        return tensor

    def _module(self, fields: dict[Any, Any]) -> dict[Any, Any]:
        """Return what a module keeps: its parameters in PyTorch's shapes, and the modules in it that have any."""
        kept: dict[Any, Any] = {
            name: fields[name] for name in _PARAMETERS if isinstance(fields.get(name), LegacyTensor)
        }
        for name, value in fields.items():
            if isinstance(value, LegacyTensor) and name not in kept:
                self.passed[f"{name}.{len(self.passed)}"] = value
        planes = [fields.get(name) for name in ("nInputPlane", "kH", "kW")]
        weight = kept.get("weight")
        # Later releases keep the kernels of a convolution as the rows of a matrix.
        if weight is not None and len(weight.shape) == 2 and all(type(size) is int and size > 0 for size in planes):
            kept["weight"] = weight.split_last(tuple(size for size in planes if size is not None))
        if isinstance(inner := fields.get("modules"), dict):
            kept["modules"] = {key: module for key, module in inner.items() if module}
        return kept

    def _string(self) -> str:
        return self.text(self._int()).decode("latin-1")

    def _int(self) -> int:
        return int(self.number("<i"))

    def _long(self) -> int:
        return int(self.number("<q"))


def _plain(number: float) -> float | int:
    """Return a number of Lua, which has but one kind, as the whole number that it may be."""
    return int(number) if number.is_integer() and abs(number) < _MOST else number
