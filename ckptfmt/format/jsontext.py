"""Strict JSON: one way to read it, one way to write it, and how values that JSON lacks are tagged.

Python's own reader accepts NaN, duplicate keys (the last wins), lone surrogates and any depth; two readers
that see different things in one document are an attack, so all of that is refused here.
"""

import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from typing import Any, NoReturn

from ckptfmt.errors import CkptError, ManifestError, printable

__all__ = ["MAX_DEPTH", "decode_free", "encode_free", "encode_key", "parse", "render"]

MAX_DEPTH = 64
_FLOATS = re.compile("inf|-inf|nan")
_INTEGER = re.compile("-?[1-9][0-9]{15,999}")
_MAX_DIGITS = 20
# The largest integer that RFC 8785 writes.
_MAX_EXACT = 2**53 - 1
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_WORDS = {True: "true", False: "false", None: "null"}
_BRACKET = re.compile(rb"[\[\]{}]")
_Fallback = Callable[[Any], Any]


def parse(
    data: bytes, *, where: str, limit: int, error: type[CkptError] = ManifestError, code: str = "manifest.json"
) -> Any:
    """Return the value of one strict JSON document (RFC 8259, no duplicate keys, I-JSON numbers).

    Raises `error` with `code` for more than `limit` bytes, nesting beyond `MAX_DEPTH`, text that is not
    UTF-8, duplicate keys, NaN, infinities, integers of more than 20 digits and lone surrogates.
    """

    def refuse(what: str) -> NoReturn:
        raise error(what, where=where, code=code)

    if len(data) > limit:
        refuse(f"is {len(data):,} bytes, more than the {limit:,} allowed")
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        refuse(f"nests deeper than {MAX_DEPTH} levels")
    try:
        text = data.decode("utf-8")
        if text.startswith("\ufeff"):
            refuse("starts with a byte order mark, which JSON does not allow")
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _unique(pairs, refuse),
            parse_constant=lambda name: refuse(f"{name} is not JSON"),
            parse_float=lambda digits: _finite(digits, refuse),
            parse_int=lambda digits: _bounded(digits, refuse),
        )
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as e:
        refuse(f"is not UTF-8 at byte {e.start}")
    except UnicodeEncodeError:
        refuse("holds half of a surrogate pair")
    except json.JSONDecodeError as e:
        refuse(f"is not JSON at line {e.lineno}, column {e.colno}: {e.msg}")
    except RecursionError:
        refuse("nests too deep")
    return value


def render(value: Any) -> str:
    """Return the one text that `value` has in a manifest.

    Two spaces of indent, one line a key, keys in their order, a list of plain values on one line. A manifest
    whose bytes are not the rendering of its own content was changed after it was written, even where both
    mean the same (`1e5` and `1E5` differ by one bit).
    """
    return _render(value, "\n") + "\n"


def _render(value: Any, newline: str) -> str:
    inner = newline + "  "
    if isinstance(value, dict) and value:
        rows = [f"{_plain(key)}: {_render(item, inner)}" for key, item in value.items()]
        return "{" + inner + f",{inner}".join(rows) + newline + "}"
    if isinstance(value, list):
        if any(isinstance(item, dict | list) for item in value):
            return "[" + inner + f",{inner}".join([_render(item, inner) for item in value]) + newline + "]"
        return "[" + ", ".join(map(_plain, value)) + "]"
    return _plain(value)


def _plain(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is bool or value is None:
        return _WORDS[value]
    return str(value) if kind is int else _ENCODER.encode(value)


def encode_free(value: Any, *, where: str, fallback: _Fallback | None = None) -> Any:
    """Return a free-form value as JSON holds it.

    Non-finite floats become `{"$float": "-inf"}`, integers beyond 2^53 `{"$int": "…"}`, NumPy scalars
    numbers, tuples lists, documents what their `to_dict` returns. Anything else raises `ManifestError` with its
    path, unless `fallback` gives a value for it; so do half a surrogate pair and nesting beyond `MAX_DEPTH`.
    """
    return _encode(value, where, fallback, 1)


def encode_key(key: Any, *, where: str) -> str:
    """Return a key as JSON holds it: text, numbers as the text they are written as."""
    if isinstance(key, str):
        return _text(key, where)
    scalar = key if isinstance(key, int | float) else _scalar(key)
    if scalar is None or isinstance(scalar, bool):
        kind = printable(type(key).__name__)
        raise ManifestError(f"a {kind} cannot be a key in JSON", where=where, code="manifest.free-form")
    return str(scalar)


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
        case Mapping() | list() | tuple() if depth > MAX_DEPTH:
            raise ManifestError(f"nests deeper than {MAX_DEPTH} levels", where=where, code="manifest.free-form")
        case Mapping():
            return _encode_mapping(value, where, fallback, depth)
        case list() | tuple():
            return [_encode(item, f"{where}[{i}]", fallback, depth + 1) for i, item in enumerate(value)]
    if (scalar := _scalar(value)) is not None:
        return _encode(scalar, where, fallback, depth)
    if fallback is not None:
        return _encode(fallback(value), where, None, depth)
    if hasattr(value, "to_dict") and not isinstance(value, type):
        return _encode(value.to_dict(), where, None, depth + 1)
    raise ManifestError(
        f"a {printable(type(value).__name__)} cannot be written as JSON",
        where=where,
        fix="give a number, text, list or mapping",
        code="manifest.free-form",
    )


def _text(value: str, where: str) -> str:
    """Return text as plain `str`; half of a surrogate pair has no form in UTF-8."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ManifestError("holds half of a surrogate pair", where=where, code="manifest.free-form") from None
    return str.__str__(value)


def decode_free(value: Any, *, where: str = "$") -> Any:
    """Return a free-form value as Python holds it, the inverse of `encode_free`; a false tag is a `ManifestError`."""
    match value:
        case {"$float": text} if len(value) == 1:
            return _untag(_FLOATS, text, float, where)
        case {"$int": text} if len(value) == 1:
            return _untag(_INTEGER, text, int, where)
        case dict():
            return {key: decode_free(item, where=f"{where}.{printable(key, 60)}") for key, item in value.items()}
        case list():
            return [decode_free(item, where=f"{where}[{i}]") for i, item in enumerate(value)]
    return value


def _untag(form: re.Pattern[str], text: Any, kind: Callable[[str], Any], where: str) -> Any:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise ManifestError(f"'{printable(text, 60)}' is no tagged number", where=where, code="manifest.free-form")
    return kind(text)


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]], refuse: Callable[[str], NoReturn]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        refuse(f"has the key '{printable(twice, 60)}' twice")
    return found


def _finite(digits: str, refuse: Callable[[str], NoReturn]) -> float:
    number = float(digits)
    return number if math.isfinite(number) else refuse(f"{printable(digits, 40)} is too large for a number")


def _bounded(digits: str, refuse: Callable[[str], NoReturn]) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else refuse(f"an integer has {len(digits):,} digits")


def _tag_integer(value: int, where: str) -> dict[str, str]:
    if value.bit_length() > 3300:
        raise ManifestError("an integer of more than 1,000 digits", where=where, code="manifest.free-form")
    return {"$int": str(int(value))}


def _encode_mapping(value: Mapping[Any, Any], where: str, fallback: _Fallback | None, depth: int) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    for key, item in value.items():
        name = encode_key(key, where=where)
        if name in encoded:
            raise ManifestError(
                f"two keys are both written '{printable(name, 60)}'", where=where, code="manifest.free-form"
            )
        encoded[name] = _encode(item, f"{where}.{printable(name, 60)}", fallback, depth + 1)
    if len(encoded) == 1 and (tag := next(iter(encoded))) in ("$float", "$int"):
        raise ManifestError(f"the key {tag} is reserved", where=where, code="manifest.free-form")
    return encoded


def _scalar(value: Any) -> Any:
    """Return a NumPy scalar (or whatever acts as one number) as a Python number, else None."""
    if type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    try:
        return operator.index(value)
    except TypeError:
        pass
    if getattr(value, "shape", None) == () and hasattr(value, "__float__"):
        return float(value)
    return None
