"""Arrays to stored tensors and back: the border between the format and NumPy.

Torch tensors are taken too, without importing torch: one can only exist where torch is loaded already.
"""

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ckptfmt.errors import WeightsError, printable
from ckptfmt.format.dtypes import DTYPES, by_torch
from ckptfmt.format.record import record
from ckptfmt.format.uncollected import OF_A_TENSOR, uncollected

__all__ = ["ArrayPayload", "Part", "decode", "is_torch_tensor", "memory", "payloads"]

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

    Two names for the same memory, read in the same way, are one stored tensor; what is a payload already stays
    one. Of a `Part` its own elements are stored. Raises `WeightsError` for what no stored tensor can hold,
    naming it.
    """
    with uncollected(OF_A_TENSOR * len(tensors)):
        return _payloads(tensors)


def _payloads(tensors: Mapping[str, Any]) -> tuple[dict[str, ArrayPayload], dict[str, str]]:
    stored: dict[str, ArrayPayload] = {}
    tied: dict[str, str] = {}
    seen: dict[object, tuple[str, Callable[[], Any]]] = {}
    for name in tensors:
        if not isinstance(name, str):
            raise WeightsError(f"the name {printable(name)} is not text", code="weights.name")
        tensor = tensors[name]
        key = memory(tensor)
        first = seen.get(key) if key is not None else None
        # A mapping may make each tensor when it is asked for: memory of one that has gone is given to the next.
        if first is not None and first[1]() is not None:
            tied[name] = first[0]
            continue
        stored[name] = _payload(name, tensor)
        if key is not None:
            seen[key] = name, _held(tensor)
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


def memory(tensor: Any) -> object:
    """Return what two tensors that exist at one time must share to be one; None where that cannot be told.

    It does not matter either for what is empty: two of these may lie at the same address.
    """
    if isinstance(tensor, ArrayPayload):
        return id(tensor)
    if isinstance(tensor, Part):
        inner = memory(tensor.array)
        return inner and (inner, tensor.of, tensor.at)
    if is_torch_tensor(tensor):
        return _torch_memory(tensor)
    if isinstance(tensor, np.ndarray) and tensor.size:
        return tensor.__array_interface__["data"][0], tensor.dtype, tensor.shape, tensor.strides
    return None


def _torch_memory(tensor: Any) -> object:
    torch = sys.modules["torch"]
    # What a subclass makes of its memory is its own affair: one that wraps other tensors has none.
    if type(tensor) not in _plain_torch() or tensor.is_nested or tensor.layout != torch.strided:
        return None
    if not tensor.numel() or not tensor.data_ptr():
        return None
    # A conjugate or a negative is the same memory with a flag.
    flags = tensor.is_conj(), tensor.is_neg()
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), flags


def _held(tensor: Any) -> Callable[[], Any]:
    """Return what gives the object that keeps a tensor's memory, None once that has gone."""
    if isinstance(tensor, Part):
        return _held(tensor.array)
    # A payload is kept with what is stored, and need not take weak references.
    return (lambda: tensor) if isinstance(tensor, ArrayPayload) else weakref.ref(tensor)


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
    array = np.asanyarray(tensor)
    if np.ma.is_masked(array):
        raise WeightsError(
            f"{printable(name)} has masked elements, and a stored tensor has no mask",
            fix="fill them first, or save the mask as a tensor of its own",
            code="weights.dtype",
        )
    array = np.asarray(array)
    dtype = _STORED.get(array.dtype.newbyteorder("<"), _TORCH.get(array.dtype.name))
    if dtype is None:
        raise _no_dtype(name, array.dtype.name)
    shape = array.shape
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    return ArrayPayload(dtype, shape, _bytes_of(array))


def _torch_payload(name: str, tensor: Any) -> ArrayPayload:
    torch = sys.modules["torch"]
    if torch.nn.parameter.is_lazy(tensor):
        raise WeightsError(
            f"{printable(name)} has no shape and no values yet",
            fix="let the network see an input first",
            code="weights.meta",
        )
    dtype = _TORCH.get(str(tensor.dtype).removeprefix("torch."))
    if tensor.is_nested:
        raise _no_dtype(name, f"nested {tensor.dtype}")
    if dtype is None or tensor.layout != torch.strided or tensor.is_quantized:
        raise _no_dtype(name, f"{tensor.layout} {tensor.dtype}")
    if tensor.is_meta:
        raise WeightsError(f"{printable(name)} is on the meta device and has no values", code="weights.meta")
    try:
        # A conjugate or a negative is a flag on somebody else's memory in torch until it is resolved.
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        # Not reshaped: one element is contiguous with any stride, and that stride would stay.
        row = plain.as_strided((plain.numel(),), (1,)).view(torch.uint8).numpy(force=True)
    except (RuntimeError, TypeError):
        if type(tensor) in _plain_torch():
            raise
        # A subclass that wraps other tensors gives no bytes.
        raise _no_dtype(name, type(tensor).__name__) from None
    return ArrayPayload(dtype, tuple(tensor.shape), _bytes_of(row))


def _plain_torch() -> tuple[type, ...]:
    torch = sys.modules["torch"]
    return torch.Tensor, torch.nn.Parameter


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view("u1").data


def _no_dtype(name: str, kind: str) -> WeightsError:
    return WeightsError(
        f"{printable(name)} is {printable(kind, 60)}, which safetensors cannot hold",
        fix="convert it to a dense tensor of a plain dtype first",
        code="weights.dtype",
    )
