"""Pickles written opcode by opcode: plain data, names, and calls of them; nothing is the image of a living object."""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ckptfmt.errors import ConversionError, printable
from ckptfmt.format.record import record

__all__ = ["Call", "Instance", "Name", "Outside", "pickled"]


@record
class Name:
    """A class or a function by the module that holds it."""

    module: str
    name: str


@record
class Call:
    """What a class or a function returns for these arguments."""

    function: Name
    arguments: tuple[Any, ...]


@record(eq=False)
class Instance:
    """An object of a class that is given its state without a call of its constructor; no two are equal, as keys."""

    kind: Name
    state: Any = None


@record
class Outside:
    """What lies outside of the pickle, by the id under which its reader finds it."""

    id: tuple[Any, ...]


def _no_other(value: Any) -> Any:
    raise ConversionError(f"{printable(type(value).__name__)} is no plain value", code="export.value")


def pickled(value: Any, plain: Callable[[Any], Any] = _no_other) -> bytes:
    """Return the pickle of `value`: dicts, lists, tuples, numbers, text, and names with calls of them.

    `plain` says what stands for a value of another kind. Protocol 2 is what every reader of torch files takes;
    nothing is memoised, so nothing is shared.
    """
    return b"\x80\x02" + _opcodes(value, plain) + b"."


def _opcodes(value: Any, plain: Callable[[Any], Any]) -> bytes:
    match value:
        case Name():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            return _opcodes(value.function, plain) + _opcodes(value.arguments, plain) + b"R"
        case Instance():
            state = b"" if value.state is None else _opcodes(value.state, plain) + b"b"
            return _opcodes(value.kind, plain) + b")\x81" + state
        case Outside():
            return _opcodes(value.id, plain) + b"Q"
        case None | bool() | int() | float() | str():
            return _scalar(value)
        case Mapping():
            return b"}(" + _all((part for pair in value.items() for part in pair), plain) + b"u"
        case list():
            return b"](" + _all(value, plain) + b"e"
        case tuple():
            return b"(" + _all(value, plain) + b"t" if value else b")"
    return _opcodes(plain(value), plain)


def _all(items: Iterable[Any], plain: Callable[[Any], Any]) -> bytes:
    return b"".join(_opcodes(item, plain) for item in items)


def _scalar(value: bool | float | str | None) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        # BININT holds 32 bits with a sign; beyond it is LONG1, as Python's own pickler writes.
        return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else _long(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _long(value: int) -> bytes:
    # One bit more than the number has, for its sign.
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data
