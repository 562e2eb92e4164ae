"""NumPy arrays, scalars and dtypes of a pickle, made from their bytes without NumPy."""

import math
import re
import struct
from typing import Any

from ckptfmt.format.dtypes import DTYPES, bits_of, by_numpy
from ckptfmt.legacy.bytes.blocks import Block, MemoryBlock, Window
from ckptfmt.legacy.bytes.gather import swapped
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.pickle.inert import Opaque
from ckptfmt.legacy.pickle.refusal import malformed

__all__ = [
    "NDARRAY",
    "array_of",
    "array_state",
    "create_for_dill",
    "create_for_jax",
    "dtype_of",
    "frombuffer",
    "numbers_of",
    "reconstruct",
    "scalar_of",
    "strides_of",
]

DTYPE = "numpy.dtype"
NDARRAY = "numpy.ndarray"

# What NumPy calls an element of one kind and size, in safetensors' words.
_ELEMENTS = by_numpy()
_SCALARS = {
    **{dtype.numpy[1:]: dtype.struct for dtype in DTYPES.values() if dtype.numpy and dtype.struct},
    "c8": "2f",
    "c16": "2d",
}
_CODE = re.compile(r"([<>=|]?)([a-zA-Z])([0-9]{1,4})")
# A scalar is text at its largest.
_MAX_SCALAR = 1 << 20


def dtype_of(args: tuple[Any, ...]) -> Opaque:
    """Return `numpy.dtype("f8", False, True)` as a placeholder that arrays and scalars understand."""
    match args:
        case (str(code), *flags) if _CODE.fullmatch(code) and all(type(flag) in (bool, int) for flag in flags):
            return Opaque("instance", DTYPE, (code,))
        case (Opaque(kind="global") as scalar, *flags) if all(type(flag) in (bool, int) for flag in flags):
            return Opaque("instance", DTYPE, (scalar.name,))
    raise malformed("describes a NumPy dtype in a way that NumPy does not")


def _element(dtype: Any) -> tuple[str, bool]:
    """Return (kind and size, big-endian) of a dtype placeholder; ("", False) for one that is not plain."""
    match dtype:
        case Opaque(kind="instance", name="numpy.dtype", args=(str(code),), state=state):
            found = _CODE.fullmatch(code)
            # The second of a dtype's state is its byte order; without one the code says it.
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else (found[1] if found else "")
            return (found[2] + found[3], order == ">") if found else ("", False)
    raise malformed("gives an array something that is no dtype")


def reconstruct(args: tuple[Any, ...]) -> Opaque:
    """Return the empty array that a pickle makes first; its state follows."""
    match args:
        case (Opaque(kind="global", name="numpy.ndarray"), tuple(), bytes() | str()):
            return Opaque("instance", NDARRAY)
    raise malformed("makes an array of a class that is not NumPy's own")


def array_state(array: Opaque, state: Any) -> LegacyTensor | None:
    """Return the array whose state this is, or None (and keep the state) where its elements are no numbers."""
    match state:
        case (int(), tuple() as shape, dtype, bool() | int() as fortran, data) | (
            tuple() as shape,
            dtype,
            bool() | int() as fortran,
            data,
        ):
            made = array_of(shape, dtype, data, fortran=bool(fortran))
            array.state = None if made else (shape, dtype, data)
            return made
    raise malformed("gives an array a state that NumPy does not")


def create_for_dill(args: tuple[Any, ...]) -> LegacyTensor | Opaque:
    """Return the array that dill makes in one call, of what NumPy's own pickles make and then give a state."""
    match args:
        case (
            Opaque(kind="global", name="numpy._core.multiarray._reconstruct"),
            tuple() as given,
            tuple() as state,
            *_,
        ):
            array = reconstruct(given)
            return array_state(array, state) or array
    raise malformed("makes an array in a way that dill does not")


def create_for_jax(args: tuple[Any, ...]) -> LegacyTensor | Opaque:
    """Return the array of NumPy inside one of JAX; what JAX itself keeps beside it is a mark of weak types."""
    match args:
        case (
            Opaque(kind="global", name="numpy._core.multiarray._reconstruct"),
            tuple() as given,
            tuple() as state,
            dict(),
        ):
            array = reconstruct(given)
            return array_state(array, state) or array
        case (Opaque(kind="global", name="numpy._core.numeric._frombuffer"), tuple() as given, None, dict()):
            return frombuffer(given)
    raise malformed("makes an array in a way that JAX does not")


def frombuffer(args: tuple[Any, ...]) -> LegacyTensor | Opaque:
    """Return the array that protocol 5 describes by its buffer, dtype, shape and order."""
    match args:
        case (data, dtype, tuple() as shape, ("C" | "F") as order):
            made = array_of(shape, dtype, data, fortran=order == "F")
            return made or Opaque("instance", NDARRAY, state=(shape, dtype, data))
    raise malformed("describes an array in a way that NumPy does not")


def array_of(shape: tuple[Any, ...], dtype: Any, data: Any, *, fortran: bool) -> LegacyTensor | None:
    """Return an array of numbers over its bytes; None where safetensors has no such dtype.

    Raises `SourceError` where shape and bytes do not agree.
    """
    code, big_endian = _element(dtype)
    if code not in _ELEMENTS:
        return None
    return numbers_of(shape, _ELEMENTS[code], data, fortran=fortran, big_endian=big_endian)


def numbers_of(
    shape: tuple[Any, ...], stored: str, data: Any, *, fortran: bool = False, big_endian: bool = False
) -> LegacyTensor:
    """Return an array of a dtype of safetensors, of whole bytes, over its bytes; raises as `array_of`."""
    if not all(type(n) is int and n >= 0 for n in shape):
        raise malformed("gives an array something that is no shape")
    block = _block(data)
    need = math.prod(shape) * bits_of(stored) // 8
    if block.size != need:
        raise malformed(f"gives an array of {need:,} bytes {block.size:,} bytes")
    return LegacyTensor(stored, shape, strides_of(shape, fortran=fortran), 0, Storage("", stored, block, big_endian))


def strides_of(shape: tuple[int, ...], *, fortran: bool = False) -> tuple[int, ...]:
    """Return the strides, in elements, of an array that fills its memory; `fortran`: its first index runs fastest."""
    strides, step = [], 1
    for n in shape if fortran else reversed(shape):
        strides.append(step)
        step *= n
    return tuple(strides if fortran else reversed(strides))


def _block(data: Any) -> Block:
    # A byte string of Python 2 that happens to be UTF-8 became text; encoding it gives the same bytes back.
    if isinstance(data, str):
        data = data.encode()
    if isinstance(data, bytes):
        return MemoryBlock(data)
    if isinstance(data, Window):
        return data
    raise malformed("gives an array elements that are no bytes")


def scalar_of(args: tuple[Any, ...]) -> Any:
    """Return the Python number of a NumPy scalar; a placeholder for kinds that Python has no number for."""
    match args:
        case (Opaque() as dtype, bytes() | str() as data):
            raw = data.encode() if isinstance(data, str) else data
            code, big_endian = _element(dtype)
            return _scalar(code, raw, big_endian, args)
        case (Opaque(),) | (Opaque(), _):
            return Opaque("call", "numpy.scalar", args)
    raise malformed("describes a NumPy scalar in a way that NumPy does not")


def _scalar(code: str, data: bytes, big_endian: bool, args: tuple[Any, ...]) -> Any:
    if len(data) > _MAX_SCALAR:
        raise malformed(f"holds a NumPy scalar of {len(data):,} bytes")
    if code[:1] == "S":
        # Filled up with zeros to the length of the dtype.
        return data.rstrip(b"\0")
    # NumPy keeps text as UTF-32, four bytes a character.
    if code[:1] == "U" and len(data) % 4 == 0:
        return _utf32(swapped(data, 4) if big_endian else data)
    if code not in _SCALARS:
        return Opaque("call", "numpy.scalar", args)
    if len(data) != int(code[1:]):
        raise malformed(f"gives a NumPy scalar of {code[1:]} bytes {len(data)} bytes")
    numbers = struct.unpack((">" if big_endian else "<") + _SCALARS[code], data)
    return complex(*numbers) if code[0] == "c" else numbers[0]


def _utf32(data: bytes) -> str:
    try:
        return data.decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        raise malformed("holds a NumPy string that is no text") from None
