"""Files that `torch.load(weights_only=True)` reads, written without torch.

The form is that of `torch.save` since version 1.6: a zip of stored records, `data.pkl` that describes the object,
and one record for each tensor's bytes. Only calls that every `weights_only` reader allows are written.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from ckptfmt.errors import ConversionError, printable
from ckptfmt.legacy.bytes.storages import STORAGE_DTYPES

__all__ = ["StoredTensor", "torch_bytes", "write_torch_file"]

# torch pads each record to this many bytes, so that a file can be mapped.
_ALIGNMENT = 64
_LOCAL_HEADER = 30
# The id of the padding's extra field, which torch's own writer uses.
_PADDING = b"FB"
_STORAGES = {
    dtype: name.removeprefix("torch.")
    for name, dtype in STORAGE_DTYPES.items()
    if dtype and name.startswith("torch.") and name.count(".") == 1
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor to be written: its dtype (a safetensors name), its shape, and a call that gives its bytes."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], bytes | bytearray]


def write_torch_file(file: BinaryIO, value: Any, name: str = "archive") -> None:
    """Write a torch file that holds `value`: dicts, lists, numbers, text and `StoredTensor`s, one in memory a time.

    Raises `ConversionError` for a dtype that torch's classes of storages do not name, float8 for one, before
    anything is written.
    """
    writer = _Writer()
    writer.put(value)
    described = b"\x80\x02" + b"".join(writer.parts) + b"."
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for record, data in _records(name, described, writer.tensors):
            info = zipfile.ZipInfo(record, (1980, 1, 1, 0, 0, 0))
            begin = file.tell() + _LOCAL_HEADER + len(record.encode())
            # A field needs four bytes for itself, so the padding is those and what is still missing.
            padding = -(begin + 4) % _ALIGNMENT
            info.extra = _PADDING + struct.pack("<H", padding) + b"Z" * padding
            archive.writestr(info, bytes(data))


def torch_bytes(value: Any, name: str = "archive") -> bytes:
    """Return what `write_torch_file` writes."""
    file = io.BytesIO()
    write_torch_file(file, value, name)
    return file.getvalue()


def _records(name: str, described: bytes, tensors: Sequence[StoredTensor]) -> Iterator[tuple[str, bytes | bytearray]]:
    yield f"{name}/data.pkl", described
    yield f"{name}/byteorder", b"little"
    for number, tensor in enumerate(tensors):
        yield f"{name}/data/{number}", tensor.read()
    yield f"{name}/version", b"3\n"


class _Writer:
    """Opcodes of pickle protocol 2 for plain data and tensors; nothing is memoised, so nothing is shared."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.tensors: list[StoredTensor] = []

    def put(self, value: Any) -> None:
        """Append the opcodes that make `value`."""
        if isinstance(value, StoredTensor):
            self._tensor(value)
        elif isinstance(value, Mapping):
            self._mapping(value)
        elif isinstance(value, list | tuple):
            self.parts.append(b"]" if isinstance(value, list) else b"")
            self.parts.append(b"(")
            for item in value:
                self.put(item)
            self.parts.append(b"e" if isinstance(value, list) else b"t")
        else:
            self.parts.append(_scalar(value))

    def _mapping(self, value: Mapping[Any, Any]) -> None:
        self.parts.append(b"}(")
        for key, item in value.items():
            self.put(key)
            self.put(item)
        self.parts.append(b"u")

    def _tensor(self, tensor: StoredTensor) -> None:
        """Append `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`."""
        if tensor.dtype not in _STORAGES:
            what = f"torch's files name no storage of {tensor.dtype}"
            raise ConversionError(what, fix="convert the tensors to F32 first", code="export.dtype")
        count = math.prod(tensor.shape)
        self.parts.append(b"ctorch._utils\n_rebuild_tensor_v2\n((")
        self.put("storage")
        self.parts.append(b"ctorch\n%s\n" % _STORAGES[tensor.dtype].encode())
        self.put(str(len(self.tensors)))
        self.put("cpu")
        self.put(count)
        self.parts.append(b"tQ")
        self.put(0)
        self.put(tensor.shape)
        self.put(_strides(tensor.shape))
        self.parts.append(b"\x89ccollections\nOrderedDict\n)RtR")
        self.tensors.append(tensor)


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _scalar(value: Any) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else _long(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data
    raise ConversionError(f"{printable(type(value).__name__)} is no plain value", code="export.value")


def _long(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data
