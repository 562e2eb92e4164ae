"""Free-form values: what users keep in a manifest, as JSON holds it; what JSON lacks is tagged."""

import contextlib
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from ckptfmt.errors import ManifestError, printable
from ckptfmt.format.jsontext import MAX_DEPTH

__all__ = ["RESERVED", "decode_free", "encode_free", "encode_key", "is_plain"]

RESERVED = frozenset({"$float", "$int"})
_FLOATS = re.compile("inf|-inf|nan")
# From 16 digits on: what is smaller is written as it is, so that one number has one form.
_INTEGER = re.compile("-?[1-9][0-9]{15,999}")
# The largest integer that RFC 8785 writes.
_MAX_EXACT = 2**53 - 1
# The types of which every value is a Python number: an element, or an array or tensor without axes.
_SCALAR = re.compile(r"(?:torch\.)?(?:(?P<kind>bool|u?int|b?float)(?:4|8|16|32|64)?(?:_e\w+)?)")
_KINDS: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int": operator.index,
    "uint": operator.index,
    "float": float,
    "bfloat": float,
}
_CONTAINERS = frozenset({dict, list})
_Fallback = Callable[[Any], Any]


def is_plain(value: Any) -> bool:
    """Return whether a value is text or a whole number that JSON holds as it is; others take a longer look."""
    kind = type(value)
    return value.isascii() if kind is str else kind is int and -_MAX_EXACT <= value <= _MAX_EXACT


def encode_free(value: Any, *, where: str, fallback: _Fallback | None = None) -> Any:
    """Return a free-form value as JSON holds it.

    Non-finite floats become `{"$float": "-inf"}`, integers beyond 2^53 `{"$int": "…"}`, scalars of NumPy and torch
    the numbers they equal, tuples lists, documents what their `to_dict` returns. Anything else raises `ManifestError`
    with its path, unless `fallback` gives a value for it; so do half a surrogate pair and nesting beyond `MAX_DEPTH`.
    """
    return _encode(value, where, fallback, 1)


def encode_key(key: Any, *, where: str) -> str:
    """Return a key as JSON holds it: text, numbers as the text they are written as."""
    if isinstance(key, str):
        return _text(key, where)
    match key:
        # The number itself: a member of an enumeration has a text of its own.
        case int() if not isinstance(key, bool):
            return str(int(key))
        case float():
            return str(float(key))
    scalar = _scalar(key)
    if scalar is None or isinstance(scalar, bool):
        kind = printable(type(key).__name__)
        raise ManifestError(f"a {kind} cannot be a key in JSON", where=where, code="manifest.free-form")
    return str(scalar)


def decode_free(value: Any, *, where: str = "$") -> Any:
    """Return a free-form value as Python holds it, the inverse of `encode_free`; a false tag is a `ManifestError`.

    What holds no tag is returned itself and not copied.
    """
    return _decode(value, where) if _has_tag(value) else value


def _encode(value: Any, where: str, fallback: _Fallback | None, depth: int) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, where)
        case float():
            return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
        case int():
            return int(value) if abs(value) <= _MAX_EXACT else _tag_integer(value, where)
        # What holds itself ends here too.
        case Mapping() | list() | tuple() if depth > MAX_DEPTH:
            raise ManifestError(f"nests deeper than {MAX_DEPTH} levels", where=where, code="manifest.free-form")
        case Mapping():
            return _encode_mapping(value, where, fallback, depth)
        case list() | tuple():
            return [
                item if is_plain(item) else _encode(item, f"{where}[{i}]", fallback, depth + 1)
                for i, item in enumerate(value)
            ]
    if (scalar := _scalar(value)) is not None:
        return _encode(scalar, where, fallback, depth)
    if fallback is not None:
        return _encode(fallback(value), where, None, depth)
    if hasattr(value, "to_dict") and not isinstance(value, type) and depth <= MAX_DEPTH:
        return _encode(value.to_dict(), where, None, depth + 1)
    raise ManifestError(
        f"a {printable(type(value).__name__)} cannot be written as JSON",
        where=where,
        fix="give a number, text, list or mapping",
        code="manifest.free-form",
    )


def _encode_mapping(value: Mapping[Any, Any], where: str, fallback: _Fallback | None, depth: int) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    for key, item in value.items():
        name = encode_key(key, where=where)
        if name in encoded:
            raise ManifestError(
                f"two keys are both written '{printable(name, 60)}'", where=where, code="manifest.free-form"
            )
        # A path is put together only for what may be wrong.
        plain = is_plain(item)
        encoded[name] = item if plain else _encode(item, f"{where}.{printable(name, 60)}", fallback, depth + 1)
    # A user's own mapping that looks like a tagged number would come back as one.
    if len(encoded) == 1 and (tag := next(iter(encoded))) in ("$float", "$int"):
        raise ManifestError(f"the key {tag} is reserved", where=where, code="manifest.free-form")
    return encoded


def _text(value: str, where: str) -> str:
    """Return text as plain `str`; half of a surrogate pair has no form in UTF-8."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ManifestError("holds half of a surrogate pair", where=where, code="manifest.free-form") from None
    return str.__str__(value)


def _tag_integer(value: int, where: str) -> dict[str, str]:
    # 1,000 digits are 3,322 bits; bits are counted in no time, digits in quadratic time.
    if value.bit_length() > 3300:
        raise ManifestError("an integer of more than 1,000 digits", where=where, code="manifest.free-form")
    return {"$int": str(int(value))}


def _scalar(value: Any) -> Any:
    """Return a scalar of NumPy, torch or whatever acts as one number as the Python number it equals, else None."""
    # By name, since neither may be loaded. What is not in the table would be another number in Python, or is none.
    dtype = getattr(value, "dtype", None)
    kind = operator.index
    if dtype is not None:
        found = _SCALAR.fullmatch(getattr(dtype, "name", None) or str(dtype))
        if found is None or getattr(value, "shape", None) != ():
            return None
        kind = _KINDS[found["kind"]]
    with contextlib.suppress(TypeError, ValueError):
        return kind(value)
    return None


def _has_tag(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return (len(value) == 1 and next(iter(value)) in RESERVED) or any(map(_has_tag, value.values()))
    return kind is list and not _CONTAINERS.isdisjoint(map(type, value)) and any(map(_has_tag, value))


def _decode(value: Any, where: str) -> Any:
    match value:
        case {"$float": text} if len(value) == 1:
            return _untag(_FLOATS, text, float, where)
        case {"$int": text} if len(value) == 1:
            return _untag(_INTEGER, text, int, where)
        case dict():
            return {key: _decode(item, f"{where}.{printable(key, 60)}") for key, item in value.items()}
        case list():
            return [_decode(item, f"{where}[{i}]") for i, item in enumerate(value)]
    return value


def _untag(form: re.Pattern[str], text: Any, kind: Callable[[str], Any], where: str) -> Any:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise ManifestError(f"'{printable(text, 60)}' is no tagged number", where=where, code="manifest.free-form")
    return kind(text)
