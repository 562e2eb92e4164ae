"""Find NaN and infinities in stored bytes, without decoding them.

A float is not finite when all bits of its exponent are set (for the 8-bit kinds: when its pattern is one of a
few). Both show in its topmost one or two bytes, so two look-up tables and one AND over whole chunks find them. Where
none of the topmost bytes is one of a special number, which is so of nearly all weights, a search says it sooner.
"""

import math
from collections.abc import Callable
from functools import cache, partial

from ckptfmt.format.dtypes import DTYPES, Float

__all__ = ["count_non_finite"]


def _table(is_special: Callable[[int], bool]) -> bytes:
    # All bits or none, so that the AND of two places leaves all of them only where both are special.
    return bytes(0xFF if is_special(byte) else 0 for byte in range(256))


def _has(mask: int, byte: int) -> bool:
    return byte & mask == mask


@cache
def _tables(bits: Float) -> tuple[int, dict[int, bytes]]:
    """Return how many bytes a float takes, and tables that tell its special ones by their bytes' places."""
    # The sign that an unsigned kind lacks makes nine bits of it, which is a byte as well.
    width = (1 + bits.exponent + bits.mantissa) // 8
    if width == 1:
        return 1, {0: _table(lambda byte: not math.isfinite(bits.number(byte)))}
    mask = ((1 << bits.exponent) - 1 << bits.mantissa).to_bytes(width, "little")
    # The topmost first: it holds most of the exponent, and alone rules out nearly every number.
    places = [place for place in reversed(range(width)) if mask[place]]
    return width, {place: _table(partial(_has, mask[place])) for place in places}


@cache
def _special_bytes(table: bytes) -> tuple[int, ...]:
    return tuple(byte for byte, special in enumerate(table) if special)


def count_non_finite(data: bytes | bytearray, dtype: str) -> int:
    """Return how many numbers in `data`, whole elements of a stored tensor, are NaN or infinite.

    A complex number counts once for each of its parts; a dtype without such numbers gives 0.
    """
    bits = DTYPES[dtype].float if dtype in DTYPES else None
    if bits is None:
        return 0
    width, tables = _tables(bits)
    (place, table), *others = tables.items()
    top = data[place::width]
    if not any(byte in top for byte in _special_bytes(table)):
        return 0
    found = int.from_bytes(top.translate(table), "little")
    for place, table in others:
        found &= int.from_bytes(data[place::width].translate(table), "little")
    # Each special number left a byte of eight ones.
    return found.bit_count() // 8
