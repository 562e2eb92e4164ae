"""Strict JSON: one way to read it, one way to write it.

Python's own reader accepts NaN, duplicate keys (the last wins), lone surrogates and any depth; two readers
that see different things in one document are an attack, so all of that is refused here.
"""

import contextlib
import io
import json
import math
import re
from collections.abc import Callable
from itertools import accumulate
from json.encoder import encode_basestring
from typing import Any, NoReturn

from ckptfmt.errors import CkptError, ManifestError, printable

__all__ = ["MAX_DEPTH", "excess", "parse", "read_rendered", "render"]

# Several times what a manifest needs, and less than Python's parser can follow.
MAX_DEPTH = 64
# 2^64 has twenty digits; no field holds more, and long ones cost Python quadratic time.
_MAX_DIGITS = 20
_BACKSLASHES = re.compile(rb"\\*")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_CONTAINERS = frozenset({dict, list})
_TOO_DEEP = f"nests deeper than {MAX_DEPTH} levels"
_WORDS = {True: "true", False: "false", None: "null"}
# All bytes but the few that make the structure, to be taken out of a text at once.
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"[]{},:"))
# What a document may hold, however short each of it is: memory and time follow these and not its bytes. The tensors of
# the largest checkpoint take eight keys and five lists and objects each, where all of them are slices.
_MAX_CONTAINERS, _MAX_KEYS, _MAX_VALUES = 300_000, 270_000, 500_000
# Bounds the copies that are made of a text to tell its structure.
_CHUNK = 1 << 20
# How a line of a rendering begins that lies deeper than anything may.
_TOO_FAR_IN = b"\n" + b"  " * MAX_DEPTH
# What stands for a digit and for what may stand before a number, where long ones are searched for. A colon behind
# anything but a key is one of a text: the digests of all tensors have it.
_SEEN = bytes.maketrans(b"0123456789 \n\t\r[,-", b"0" * 10 + b" " * 7)
_LONG = tuple(before + b"0" * (_MAX_DIGITS + 1) for before in (b" ", b'":', b" :"))


def parse(
    data: bytes,
    *,
    where: str,
    limit: int,
    error: type[CkptError] = ManifestError,
    code: str = "manifest.json",
    each: Callable[[dict[str, Any]], Any] = dict,
) -> Any:
    """Return the value of one strict JSON document (RFC 8259, no duplicate keys, I-JSON numbers).

    What `each` makes of an object stands in its place, so that a million of them need not be held as dicts.

    Raises `error` with `code` for more than `limit` bytes, nesting beyond `MAX_DEPTH`, text that is not
    UTF-8, duplicate keys, NaN, infinities, integers of more than 20 digits and lone surrogates.
    """

    def refuse(what: str) -> NoReturn:
        raise error(what, where=where, code=code)

    if len(data) > limit:
        refuse(f"is {len(data):,} bytes, more than the {limit:,} allowed")
    if surplus := excess(data):
        refuse(surplus)
    try:
        text = data.decode("utf-8")
        # RFC 8259 leaves it to each reader; two readers that differ are what is to be avoided.
        if text.startswith("\ufeff"):
            refuse("starts with a byte order mark, which JSON does not allow")
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _unique(pairs, refuse, each),
            parse_constant=lambda name: refuse(f"{name} is not JSON"),
            parse_float=lambda digits: _finite(digits, refuse),
            parse_int=(lambda digits: _bounded(digits, refuse)) if _has_long_numbers(data) else None,
        )
        # Only an escape brings half of a pair into text that is UTF-8; to write it out again finds it.
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as e:
        refuse(f"is not UTF-8 at byte {e.start}")
    except UnicodeEncodeError:
        refuse("holds half of a surrogate pair")
    except json.JSONDecodeError as e:
        refuse(f"is not JSON at line {e.lineno}, column {e.colno}: {e.msg}")
    except RecursionError:
        refuse(_TOO_DEEP)
    return value


def read_rendered(data: bytes, *, where: str, limit: int) -> tuple[Any, bool]:
    """Return the value of a document, and whether its bytes are the rendering of it.

    Such bytes are strict JSON whatever they hold: no key comes twice, nothing is written in two ways, and what no
    rendering has is not in them. So they need none of the checks that cost most. Others are read by `parse`, which
    says what is wrong.
    """
    # In a rendering no level is deeper than its lines are indented, but for a list on its line.
    if len(data) <= limit and _TOO_FAR_IN not in data and _is_modest(data) and not _has_long_numbers(data):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(data.decode("utf-8"))
            if _is_rendering(value, data):
                return value, True
    value = parse(data, where=where, limit=limit)
    return value, _is_rendering(value, data)


def _is_rendering(value: Any, data: bytes) -> bool:
    return render(value).encode("utf-8") == data


def render(value: Any) -> str:
    """Return the one text that `value` has in a manifest.

    Two spaces of indent, one line a key, keys in their order, a list of plain values on one line. A manifest
    whose bytes are not the rendering of its own content was changed after it was written, even where both
    mean the same (`1e5` and `1E5` differ by one bit).
    """
    text = io.StringIO()
    _render(value, "\n", text.write)
    text.write("\n")
    return text.getvalue()


def _render(value: Any, newline: str, write: Callable[[str], object]) -> None:
    if isinstance(value, dict) and value:
        inner = newline + "  "
        before, following = f"{{{inner}", f",{inner}"
        for key, item in value.items():
            kind = type(item)
            # Text and numbers are most of what there is: no call is made for them.
            if kind is str:
                write(f"{before}{encode_basestring(key)}: {encode_basestring(item)}")
            elif kind is int:
                write(f"{before}{encode_basestring(key)}: {item}")
            else:
                write(f"{before}{encode_basestring(key)}: ")
                _render(item, inner, write)
            before = following
        write(f"{newline}}}")
    elif isinstance(value, list):
        _render_list(value, newline, write)
    else:
        write(_plain(value))


def _render_list(value: list[Any], newline: str, write: Callable[[str], object]) -> None:
    kinds = set(map(type, value))
    if kinds == {int}:
        write(str(value))  # Python writes a list of whole numbers as JSON does
    elif _CONTAINERS.isdisjoint(kinds):
        write(_ENCODER.encode(value))
    else:
        inner = newline + "  "
        before, following = f"[{inner}", f",{inner}"
        for item in value:
            write(before)
            _render(item, inner, write)
            before = following
        write(f"{newline}]")


def _plain(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is bool or value is None:
        return _WORDS[value]
    # Python writes numbers as JSON does.
    return str(value) if kind is int or (kind is float and math.isfinite(value)) else _ENCODER.encode(value)


def excess(data: bytes) -> str:
    """Return what a document has too much of, before anything is made of it: a value takes more than its two bytes."""
    modest, deep = _is_modest(data), _may_be_deep(data)
    if modest and not deep:
        return ""
    structure = _structure(data)
    if not modest:
        if structure.count(b"[") + structure.count(b"{") > _MAX_CONTAINERS:
            return f"holds more than {_MAX_CONTAINERS:,} lists and objects"
        if structure.count(b":") > _MAX_KEYS:
            return f"holds more than {_MAX_KEYS:,} keys"
        if structure.count(b",") > _MAX_VALUES:
            return f"holds more than {_MAX_VALUES:,} values"
    return _TOO_DEEP if deep and _is_deep(structure) else ""


def _is_modest(data: bytes) -> bool:
    """Return whether a document cannot hold too much, even if all of its brackets, colons and commas counted."""
    return (
        data.count(b"[") + data.count(b"{") <= _MAX_CONTAINERS
        and data.count(b":") <= _MAX_KEYS
        and data.count(b",") <= _MAX_VALUES
    )


def _has_long_numbers(data: bytes) -> bool:
    """Return whether there may be whole numbers of too many digits, told in passes that are faster than expressions."""
    seen = data.translate(_SEEN)
    return seen.startswith(_LONG[0][1:]) or any(form in seen for form in _LONG)


def _may_be_deep(data: bytes) -> bool:
    return data.count(b"{") + data.count(b"[") > MAX_DEPTH


def _is_deep(structure: bytes) -> bool:
    """Return whether JSON nests deeper than `MAX_DEPTH` levels; of text that is none, only the beginning is looked at.

    Every pass takes away the innermost pairs of them, so that what is left after as many lies too deep.
    """
    brackets = structure.translate(None, b",:")
    # A pass is a search in C over all brackets; only what it leaves is followed one by one.
    for _ in range(MAX_DEPTH):
        before, brackets = len(brackets), brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) == before:
            break
    else:
        return bool(brackets)
    # What is left are brackets that do not pair, and JSON has none of them: its beginning is enough.
    steps = (1 if bracket in b"[{" else -1 for bracket in brackets[:_CHUNK])
    return any(depth > MAX_DEPTH for depth in accumulate(steps))


def _structure(data: bytes) -> bytes:
    """Return what stands outside of strings and is no value; a string that never ends hides the rest."""
    found, start, inside = [], 0, False
    while start < len(data):
        end = start + _CHUNK
        # An escape lies whole in one part: what follows an odd run of backslashes belongs to it.
        if data[end - 1 : end] == b"\\":
            end = _BACKSLASHES.match(data, end).end() + 1  # type: ignore[union-attr]  # it matches everywhere
        parts = data[start:end].replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        found.append(b"".join(parts[inside::2]).translate(None, _NOT_STRUCTURE))
        inside ^= len(parts) % 2 == 0
        start = end
    return b"".join(found)


def _unique(
    pairs: list[tuple[str, Any]], refuse: Callable[[str], NoReturn], each: Callable[[dict[str, Any]], Any]
) -> Any:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        refuse(f"has the key '{printable(twice, 60)}' twice")
    return found if each is dict else each(found)


def _finite(digits: str, refuse: Callable[[str], NoReturn]) -> float:
    number = float(digits)
    return number if math.isfinite(number) else refuse(f"{printable(digits, 40)} is too large for a number")


def _bounded(digits: str, refuse: Callable[[str], NoReturn]) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else refuse(f"an integer has {len(digits):,} digits")
