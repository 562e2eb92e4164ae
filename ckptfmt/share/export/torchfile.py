"""Files that `torch.load(weights_only=True)` reads, written without torch.

The form is that of `torch.save` since version 1.6: a zip of stored records, `data.pkl` that describes the object,
and one record for each tensor's bytes. Only calls that every `weights_only` reader allows are written.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from ckptfmt.errors import ConversionError, printable
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import STORAGE_DTYPES
from ckptfmt.share.export.opcodes import Call, Name, Outside, pickled

__all__ = ["StoredTensor", "torch_bytes", "write_torch_file"]

# torch pads each record to this many bytes, so that a file can be mapped.
_ALIGNMENT = 64
# Bytes of a record's header in front of its name (APPNOTE.TXT, section 4.3.7).
_LOCAL_HEADER = 30
# The id of the padding's extra field, which torch's own writer uses.
_PADDING = b"FB"
_STORAGES = {
    dtype: name.removeprefix("torch.")
    for name, dtype in STORAGE_DTYPES.items()
    if dtype and name.startswith("torch.") and name.count(".") == 1
}


@record
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
    tensors = _Tensors()
    described = pickled(value, tensors.described)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for record, data in _records(name, described, tensors.stored):
            # The earliest moment that a zip can name, so that one checkpoint makes one file.
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
    # torch.serialization's version of archives since 1.6.
    yield f"{name}/version", b"3\n"


class _Tensors:
    """The tensors of a file, each kept once, however many names it has."""

    def __init__(self) -> None:
        self.stored: list[StoredTensor] = []
        self._numbers: dict[int, int] = {}

    def described(self, tensor: Any) -> Call:
        """Return the call that makes a tensor of the bytes of its record."""
        if not isinstance(tensor, StoredTensor):
            raise ConversionError(f"{printable(type(tensor).__name__)} is no plain value", code="export.value")
        if tensor.dtype not in _STORAGES:
            what = f"torch's files name no storage of {tensor.dtype}"
            raise ConversionError(what, fix="convert the tensors to F32 first", code="export.dtype")
        storage = Name("torch", _STORAGES[tensor.dtype])
        place = Outside(("storage", storage, str(self._number(tensor)), "cpu", math.prod(tensor.shape)))
        hooks = Call(Name("collections", "OrderedDict"), ())
        return Call(
            Name("torch._utils", "_rebuild_tensor_v2"), (place, 0, tensor.shape, _strides(tensor.shape), False, hooks)
        )

    def _number(self, tensor: StoredTensor) -> int:
        # What is kept in `stored` lives as long as this, so that no id is used twice.
        if id(tensor) not in self._numbers:
            self._numbers[id(tensor)] = len(self.stored)
            self.stored.append(tensor)
        return self._numbers[id(tensor)]


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
