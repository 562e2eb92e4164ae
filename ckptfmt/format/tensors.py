"""Arrays to stored tensors and back: the border between the format and NumPy.

Torch tensors are taken too, without importing torch: one can only exist where torch is loaded already.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ckptfmt.errors import WeightsError, printable
from ckptfmt.format.dtypes import DTYPES, by_torch
from ckptfmt.format.record import record
from ckptfmt.format.uncollected import OF_A_TENSOR, uncollected

__all__ = ["ArrayPayload", "Part", "decode", "is_torch_tensor", "payloads"]

_NUMPY = {name: dtype.numpy for name, dtype in DTYPES.items() if dtype.numpy}
_STORED = {np.dtype(code): name for name, code in _NUMPY.items()}
_TORCH = by_torch()


@record
class ArrayPayload:
    """A tensor in memory, ready to be written; `data` are its bytes, row-major and little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def chunks(self, size: int = 8 << 20) -> Iterator[memoryview]:
        """Return the bytes in parts of `size`, without copying them."""
        return (self.data[start : start + size] for start in range(0, len(self.data), size))


@record
class Part:
    """A slice of a tensor: `array` is what lies at `at` in one of shape `of`."""

    array: Any
    of: tuple[int, ...]
    at: tuple[int, ...]


def payloads(tensors: Mapping[str, Any]) -> tuple[dict[str, ArrayPayload], dict[str, str]]:
    """Return ({name: payload}, {tied name: stored name}) of NumPy arrays or torch tensors on any device.

    Two names for the same memory, shape and strides are one stored tensor; what is a payload already stays
    one. Of a `Part` its own elements are stored. Raises `WeightsError` for what no stored tensor can hold,
    naming it.
    """
    with uncollected(OF_A_TENSOR * len(tensors)):
        return _payloads(tensors)


def _payloads(tensors: Mapping[str, Any]) -> tuple[dict[str, ArrayPayload], dict[str, str]]:
    stored: dict[str, ArrayPayload] = {}
    tied: dict[str, str] = {}
    seen: dict[object, str] = {}
    for name in tensors:
        if not isinstance(name, str):
            raise WeightsError(f"the name {printable(name)} is not text", code="weights.name")
        tensor = tensors[name]
        if (key := _memory(tensor)) is not None and (first := seen.setdefault(key, name)) != name:
            tied[name] = first
        else:
            stored[name] = _payload(name, tensor)
    return stored, tied


def is_torch_tensor(value: object) -> bool:
    """Return whether `value` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def decode(data: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return stored bytes as an array of `shape`, read-only; bfloat16 and the 8-bit floats come as float32."""
    if dtype in _NUMPY:
        return np.frombuffer(data, _NUMPY[dtype]).reshape(shape)
    if dtype == "BF16":
        # A bfloat16 is the upper half of a float32.
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    if dtype in DTYPES and (bits := DTYPES[dtype].float) is not None:
        # NumPy knows no 8-bit floats: the 256 that there are are computed, and looked up.
        numbers = np.array([bits.number(pattern) for pattern in range(256)], "<f4")
        values: np.ndarray = numbers[np.frombuffer(data, "u1")]
        return values.reshape(shape)
    raise WeightsError(f"a tensor of {printable(dtype, 40)} has no counterpart in NumPy", code="weights.dtype")


def _memory(tensor: Any) -> object:
    """Return what two names must share to be one tensor; None where sharing cannot be told or does not matter."""
    if isinstance(tensor, ArrayPayload):
        return id(tensor)
    if isinstance(tensor, Part):
        memory = _memory(tensor.array)
        return memory and (memory, tensor.of, tensor.at)
    if is_torch_tensor(tensor) and tensor.layout == sys.modules["torch"].strided and tensor.numel():
        return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()
    # Empty arrays may lie at the same address and still be two.
    if isinstance(tensor, np.ndarray) and tensor.size:
        return tensor.__array_interface__["data"][0], tensor.dtype, tensor.shape, tensor.strides
    return None


def _payload(name: str, tensor: Any) -> ArrayPayload:
    if isinstance(tensor, ArrayPayload):
        return tensor
    if isinstance(tensor, Part):
        return _payload(name, tensor.array)
    if is_torch_tensor(tensor):
        return _torch_payload(name, tensor)
    if not isinstance(tensor, np.ndarray | np.generic) and not hasattr(tensor, "__array__"):
        kind = printable(type(tensor).__name__)
        raise WeightsError(f"{printable(name)} is a {kind}, not an array", fix="give NumPy arrays or torch tensors")
    array = np.asarray(tensor)
    dtype = _STORED.get(array.dtype.newbyteorder("<"), _TORCH.get(array.dtype.name))
    if dtype is None:
        raise _no_dtype(name, array.dtype.name)
    shape = array.shape
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    return ArrayPayload(dtype, shape, _bytes_of(array))


def _torch_payload(name: str, tensor: Any) -> ArrayPayload:
    torch = sys.modules["torch"]
    dtype = _TORCH.get(str(tensor.dtype).removeprefix("torch."))
    if dtype is None or tensor.layout != torch.strided or tensor.is_quantized:
        raise _no_dtype(name, f"{tensor.layout} {tensor.dtype}")
    if tensor.is_meta:
        raise WeightsError(f"{printable(name)} is on the meta device and has no values", code="weights.meta")
    # A conjugate or a negative is a flag on somebody else's memory in torch until it is resolved.
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return ArrayPayload(dtype, tuple(tensor.shape), _bytes_of(plain.reshape(-1).view(torch.uint8).numpy()))


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view("u1").data


def _no_dtype(name: str, kind: str) -> WeightsError:
    return WeightsError(
        f"{printable(name)} is {printable(kind, 60)}, which safetensors cannot hold",
        fix="convert it to a dense tensor of a plain dtype first",
        code="weights.dtype",
    )
