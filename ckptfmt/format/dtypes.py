"""Dtypes: one table of what safetensors, NumPy, torch and pickled storages call the elements of a tensor.

NumPy's codes are little-endian, as tensors are stored. What NumPy lacks, ml_dtypes calls as torch does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DTYPES", "FLOATS", "Dtype", "bits_of", "by_numpy", "by_storage", "by_torch"]


@dataclass(frozen=True, slots=True)
class Dtype:
    """One dtype under all its names, "" where there is none.

    `name` is that of safetensors, `bits` what an element takes, `numpy` NumPy's code, `torch` the name in torch's
    module, `storage` what torch's class of storages begins with, and `struct` the code of the standard library.
    """

    name: str
    bits: int
    numpy: str = ""
    torch: str = ""
    storage: str = ""
    struct: str = ""


_ALL = (
    Dtype("BOOL", 8, "|b1", "bool", "Bool", "?"),
    Dtype("F4", 4),
    Dtype("F6_E2M3", 6),
    Dtype("F6_E3M2", 6),
    Dtype("U8", 8, "|u1", "uint8", "Byte", "B"),
    Dtype("I8", 8, "|i1", "int8", "Char", "b"),
    Dtype("F8_E5M2", 8, "", "float8_e5m2"),
    Dtype("F8_E4M3", 8, "", "float8_e4m3fn"),
    Dtype("F8_E8M0", 8, "", "float8_e8m0fnu"),
    Dtype("F8_E4M3FNUZ", 8, "", "float8_e4m3fnuz"),
    Dtype("F8_E5M2FNUZ", 8, "", "float8_e5m2fnuz"),
    Dtype("I16", 16, "<i2", "int16", "Short", "h"),
    Dtype("U16", 16, "<u2", "uint16", "", "H"),
    Dtype("F16", 16, "<f2", "float16", "Half", "e"),
    Dtype("BF16", 16, "", "bfloat16", "BFloat16"),
    Dtype("I32", 32, "<i4", "int32", "Int", "i"),
    Dtype("U32", 32, "<u4", "uint32", "", "I"),
    Dtype("F32", 32, "<f4", "float32", "Float", "f"),
    Dtype("C64", 64, "<c8", "complex64", "ComplexFloat"),
    Dtype("F64", 64, "<f8", "float64", "Double", "d"),
    Dtype("I64", 64, "<i8", "int64", "Long", "q"),
    Dtype("U64", 64, "<u8", "uint64", "", "Q"),
)
DTYPES: Mapping[str, Dtype] = {dtype.name: dtype for dtype in _ALL}
# What the weights of a layer can be. F8_E8M0 holds powers of two, the scales of other tensors.
FLOATS = frozenset(name for name in DTYPES if name.startswith(("F16", "BF16", "F32", "F64", "F8"))) - {"F8_E8M0"}


def bits_of(dtype: str) -> int:
    """Return the bits of one element; 0 for what is no dtype of safetensors."""
    return DTYPES[dtype].bits if dtype in DTYPES else 0


def by_numpy() -> dict[str, str]:
    """Return safetensors' names by NumPy's kind and size, such as `f4`."""
    return {dtype.numpy[1:]: dtype.name for dtype in _ALL if dtype.numpy}


def by_torch() -> dict[str, str]:
    """Return safetensors' names by torch's, such as `float32`."""
    return {dtype.torch: dtype.name for dtype in _ALL if dtype.torch}


def by_storage() -> dict[str, str]:
    """Return safetensors' names by the first word of torch's class of storages, such as `Float`."""
    return {dtype.storage: dtype.name for dtype in _ALL if dtype.storage}
