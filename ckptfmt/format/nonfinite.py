"""Find NaN and infinities in stored bytes, without decoding them.

A float is not finite when all bits of its exponent are set (for the 8-bit kinds: when its pattern is one of a
few). Both show in its topmost one or two bytes, so two look-up tables and one AND over whole chunks find them. Where
none of the topmost bytes is one of a special number, which is so of nearly all weights, a search says it sooner.
"""

from collections.abc import Callable
from functools import cache

__all__ = ["count_non_finite"]


def _table(is_special: Callable[[int], bool]) -> bytes:
    return bytes(0xFF if is_special(byte) else 0 for byte in range(256))


_EIGHT_BITS_SET = _table(lambda byte: byte & 0x7F == 0x7F)
_TOP_BIT_SET = _table(lambda byte: byte >= 0x80)

# dtype -> (bytes an element takes, tables by the byte's place in the element); little-endian.
_SPECIAL: dict[str, tuple[int, dict[int, bytes]]] = {
    "F64": (8, {7: _EIGHT_BITS_SET, 6: _table(lambda byte: byte >= 0xF0)}),
    "F32": (4, {3: _EIGHT_BITS_SET, 2: _TOP_BIT_SET}),
    "C64": (4, {3: _EIGHT_BITS_SET, 2: _TOP_BIT_SET}),
    "BF16": (2, {1: _EIGHT_BITS_SET, 0: _TOP_BIT_SET}),
    "F16": (2, {1: _table(lambda byte: byte & 0x7C == 0x7C)}),
    "F8_E5M2": (1, {0: _table(lambda byte: byte & 0x7C == 0x7C)}),
    "F8_E4M3": (1, {0: _EIGHT_BITS_SET}),
    "F8_E5M2FNUZ": (1, {0: _table(lambda byte: byte == 0x80)}),
    "F8_E4M3FNUZ": (1, {0: _table(lambda byte: byte == 0x80)}),
    "F8_E8M0": (1, {0: _table(lambda byte: byte == 0xFF)}),
}


@cache
def _special_bytes(table: bytes) -> tuple[int, ...]:
    return tuple(byte for byte, special in enumerate(table) if special)


def count_non_finite(data: bytes | bytearray, dtype: str) -> int:
    """Return how many numbers in `data`, whole elements of a stored tensor, are NaN or infinite.

    A complex number counts once for each of its parts; a dtype without such numbers gives 0.
    """
    if dtype not in _SPECIAL:
        return 0
    width, ((place, table), *others) = _SPECIAL[dtype][0], _SPECIAL[dtype][1].items()
    top = data[place::width]
    if not any(byte in top for byte in _special_bytes(table)):
        return 0
    found = int.from_bytes(top.translate(table), "little")
    for place, table in others:
        found &= int.from_bytes(data[place::width].translate(table), "little")
    return found.bit_count() // 8
