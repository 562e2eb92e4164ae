"""Dtypes: one table of what safetensors, NumPy, torch and pickled storages call the elements of a tensor.

NumPy's codes are little-endian, as tensors are stored. What NumPy lacks, ml_dtypes calls as torch does.
"""

import math
from collections.abc import Mapping
from typing import Literal

from ckptfmt.format.record import record

__all__ = [
    "DTYPES",
    "FLOATS",
    "WHOLE",
    "Dtype",
    "Float",
    "bits_of",
    "by_numpy",
    "by_storage",
    "by_torch",
    "storage_bits",
]


@record
class Float:
    """How a float is made of bits: a sign, then `exponent` and `mantissa` bits; what an exponent counts from is `bias`.

    `special` says what is no finite number: "ieee" the highest exponent, "fn" that pattern alone in which all other
    bits are 1, "fnuz" minus zero; "unsigned" has no sign, and no number where all bits are 1.
    """

    exponent: int
    mantissa: int
    bias: int
    special: Literal["ieee", "fn", "fnuz", "unsigned"] = "ieee"

    def number(self, pattern: int) -> float:
        """Return the number that a pattern of bits stands for (OCP 8-bit floats, revision 1.0, table 1)."""
        highest = (1 << self.exponent) - 1
        power, rest = pattern >> self.mantissa & highest, pattern & ((1 << self.mantissa) - 1)
        negative = pattern >> (self.exponent + self.mantissa)
        if self.special == "unsigned":
            return math.nan if power == highest else math.ldexp(1.0, power - self.bias)
        sign, all_rest = -1.0 if negative else 1.0, rest == (1 << self.mantissa) - 1
        if self.special == "fnuz" and negative and not power and not rest:
            return math.nan
        if self.special == "ieee" and power == highest:
            return math.nan if rest else sign * math.inf
        if self.special == "fn" and power == highest and all_rest:
            return math.nan
        whole = rest + (1 << self.mantissa if power else 0)
        return sign * math.ldexp(whole, max(power, 1) - self.bias - self.mantissa)


@record
class Dtype:
    """One dtype under all its names, "" where there is none.

    `name` is that of safetensors, `bits` what an element takes, `numpy` NumPy's code, `torch` the name in torch's
    module, `storage` what torch's class of storages begins with, `struct` the code of the standard library, and
    `float` how a float, or a part of a complex number, is made of bits.
    """

    name: str
    bits: int
    numpy: str = ""
    torch: str = ""
    storage: str = ""
    struct: str = ""
    float: Float | None = None


# In the order of the library's own list, which goes by width. The numbers behind the names are exponent, mantissa and
# bias, as IEEE 754, the OCP's 8-bit formats and, for fnuz, AMD's and Graphcore's proposal have them.
_ALL = (
    Dtype("BOOL", 8, "|b1", "bool", "Bool", "?"),
    Dtype("F4", 4),
    Dtype("F6_E2M3", 6),
    Dtype("F6_E3M2", 6),
    Dtype("U8", 8, "|u1", "uint8", "Byte", "B"),
    Dtype("I8", 8, "|i1", "int8", "Char", "b"),
    Dtype("F8_E5M2", 8, "", "float8_e5m2", float=Float(5, 2, 15)),
    Dtype("F8_E4M3", 8, "", "float8_e4m3fn", float=Float(4, 3, 7, "fn")),
    Dtype("F8_E8M0", 8, "", "float8_e8m0fnu", float=Float(8, 0, 127, "unsigned")),
    Dtype("F8_E4M3FNUZ", 8, "", "float8_e4m3fnuz", float=Float(4, 3, 8, "fnuz")),
    Dtype("F8_E5M2FNUZ", 8, "", "float8_e5m2fnuz", float=Float(5, 2, 16, "fnuz")),
    Dtype("I16", 16, "<i2", "int16", "Short", "h"),
    Dtype("U16", 16, "<u2", "uint16", "", "H"),
    Dtype("F16", 16, "<f2", "float16", "Half", "e", float=Float(5, 10, 15)),
    Dtype("BF16", 16, "", "bfloat16", "BFloat16", float=Float(8, 7, 127)),
    Dtype("I32", 32, "<i4", "int32", "Int", "i"),
    Dtype("U32", 32, "<u4", "uint32", "", "I"),
    Dtype("F32", 32, "<f4", "float32", "Float", "f", float=Float(8, 23, 127)),
    Dtype("C64", 64, "<c8", "complex64", "ComplexFloat", float=Float(8, 23, 127)),
    Dtype("F64", 64, "<f8", "float64", "Double", "d", float=Float(11, 52, 1023)),
    Dtype("I64", 64, "<i8", "int64", "Long", "q"),
    Dtype("U64", 64, "<u8", "uint64", "", "Q"),
)
# What torch has and safetensors has not: nothing of these is stored, but the storages of old files hold them.
_UNSTORED = (
    Dtype("complex128", 128, storage="ComplexDouble"),
    Dtype("complex32", 32),
    Dtype("qint8", 8, storage="QInt8"),
    Dtype("quint8", 8, storage="QUInt8"),
    Dtype("qint32", 32, storage="QInt32"),
    # An element of these storages is a byte that holds two or four numbers.
    Dtype("quint4x2", 8, storage="QUInt4x2"),
    Dtype("quint2x4", 8, storage="QUInt2x4"),
)
DTYPES: Mapping[str, Dtype] = {dtype.name: dtype for dtype in _ALL}
# Whole numbers and truth: pixels, actions, counters, masks; weights are none of these.
WHOLE = frozenset(dtype.name for dtype in _ALL if dtype.numpy and dtype.float is None)
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
    """Return safetensors' names by the first word of torch's class of storages, such as `Float`.

    What is never stored has torch's own name.
    """
    return {dtype.storage: dtype.name for dtype in (*_ALL, *_UNSTORED) if dtype.storage}


def storage_bits(dtype: str) -> int:
    """Return the bits of one element in a storage of torch; 0 for what has none there."""
    return _STORAGE_BITS.get(dtype, 0)


_STORAGE_BITS = {dtype.name: dtype.bits for dtype in (*_ALL, *_UNSTORED)}
