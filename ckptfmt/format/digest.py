"""Digests of bytes, files and JSON: BLAKE3 for tensors, SHA-256 for files, RFC 8785 below the JSON ones.

BLAKE3 is fast enough to check on every load; SHA-256 is what every other tool speaks.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any

import rfc8785
from blake3 import blake3

from ckptfmt.errors import ManifestError

__all__ = [
    "DIGEST_FORM",
    "WRITTEN",
    "Hasher",
    "canonical_json",
    "content_digest",
    "json_digest",
    "manifest_digest",
    "new_blake3",
    "tensor_digest",
]

Part = bytes | bytearray | memoryview

# The algorithms that a tensor's digest may name, each with the bytes that it gives. A new one is one entry here.
_ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "blake3": blake3,
}
WRITTEN = "blake3"
DIGEST_FORM = "|".join(f"{name}:[0-9a-f]{{{2 * make().digest_size}}}" for name, make in _ALGORITHMS.items())


# Writes what RFC 8785 asks for, as long as keys are ASCII and numbers are those that `_exact` lets through.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
# RFC 8785 writes numbers as JavaScript does, whose numbers are whole and exact up to here.
_MAX_EXACT = 2**53 - 1
_CONTAINERS = frozenset({dict, list, tuple})
# In a list of floats as Python writes it: what JavaScript writes without an exponent, with a shorter one, or without
# a point.
_UNFOLDED = ("e-05", "e-06", "e+16", "e+17", "e+18", "e+19", "e+20")
_FOLDED = re.compile(r"(?<![0-9.])-?[0-9.]++e(?:-0[56]|\+1[6-9]|\+20)(?![0-9])")
_WHOLE = re.compile(r"(?<![0-9])-(?=0\.0[,\]])|\.0(?=[,\]])")


class Hasher:
    """A tensor's digest in the making, by the algorithm that `digest` names, else by the one that is written."""

    def __init__(self, digest: str = "") -> None:
        self._wanted = digest
        self._algorithm = digest.partition(":")[0] or WRITTEN
        self._hasher = _ALGORITHMS[self._algorithm]()

    def update(self, part: Part) -> None:
        """Take in the next part; the GIL is released meanwhile."""
        self._hasher.update(part)

    def text(self) -> str:
        """Return the digest of the parts so far, as a manifest says it: `blake3:…`."""
        return f"{self._algorithm}:{self._hasher.hexdigest()}"

    def matches(self) -> bool:
        """Return whether the parts are those that the digest given stands for."""
        return self.text() == self._wanted


def tensor_digest(parts: Iterable[Part]) -> str:
    """Return the digest of a tensor's bytes as they are stored, given in parts."""
    hasher = Hasher()
    for part in parts:
        hasher.update(part)
    return hasher.text()


def new_blake3(data: bytes = b"") -> Any:
    """Return a BLAKE3 hasher with `update(bytes)` and `hexdigest()`; both release the GIL."""
    return blake3(data)


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value; raise `ManifestError` where it has none."""
    try:
        return (_ENCODER.encode(value) if _is_exact(value) else _written(value)).encode("utf-8")
    except (TypeError, ValueError):
        pass  # what has no canonical form: the library says why
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as e:
        raise ManifestError(f"has no canonical form: {e}", where="manifest.json") from None


def json_digest(value: Any) -> str:
    """Return `sha256:` and the SHA-256, in hex, of the canonical form of a JSON value."""
    return _digest_of(canonical_json(value))


def _digest_of(canonical: bytes) -> str:
    return "sha256:" + hashlib.sha256(canonical).hexdigest()


def content_digest(tensors: Iterable[tuple[str, str, Iterable[int], str]]) -> str:
    """Return the identity of a network from (name, dtype, shape, digest) of each stored tensor.

    The order in which the tensors come does not matter. A BLAKE3 counts without its name.
    """
    rows = [(name, dtype, tuple(shape), digest.removeprefix("blake3:")) for name, dtype, shape, digest in tensors]
    rows.sort()
    # Text is written alike by all, and there are no keys: only numbers could differ.
    exact = all(0 <= size <= _MAX_EXACT for shape in {row[2] for row in rows} for size in shape)
    return _digest_of(_ENCODER.encode(rows).encode("utf-8") if exact else canonical_json(rows))


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Return the digest of a manifest in its JSON form, its own `manifest_digest` left out."""
    return json_digest({key: value for key, value in manifest.items() if key != "manifest_digest"})


def _is_exact(value: Any) -> bool:
    """Return whether Python and RFC 8785 write a value alike as it is, without a copy of it."""
    # A list and not a call for each: of those a large manifest has a million.
    waiting: list[Any] = [(value,)]
    while waiting:
        holder = waiting.pop()
        if type(holder) is dict:
            # UTF-16, by which keys are sorted, orders them as code points do while none lies beyond the surrogates.
            keys = "".join(holder)
            if not (keys.isascii() or max(keys) < "\ud800"):
                return False
            holder = holder.values()
        for item in holder:
            kind = type(item)
            if kind in _CONTAINERS:
                waiting.append(item)
            elif kind is not str and not _is_plain(item, kind):
                return False
    return True


def _is_plain(item: Any, kind: type) -> bool:
    if kind is int:
        return bool(-_MAX_EXACT <= item <= _MAX_EXACT)
    if kind is float:
        # Below 1e-4 Python writes an exponent where RFC 8785 writes zeros.
        return bool(abs(item) >= 1e-4 and not item.is_integer() and math.isfinite(item))
    return kind is bool or item is None


def _written(value: Any) -> str:
    """Return the canonical text of a JSON value, whatever its numbers and keys; raise `ValueError` where it has none.

    The library does the same in several times the time.
    """
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is float:
        return _number(value)
    if kind is list or kind is tuple:
        # A support or a record of losses is a long list of floats: one pass of a pattern instead of a call for each.
        return _numbers(value) if set(map(type, value)) == {float} else f"[{','.join(map(_written, value))}]"
    if kind is dict:
        names = sorted(value, key=_utf_16)
        return f"{{{','.join([f'{encode_basestring(name)}:{_written(value[name])}' for name in names])}}}"
    if kind is int and not -_MAX_EXACT <= value <= _MAX_EXACT:
        raise ValueError
    return _ENCODER.encode(value)


def _utf_16(name: str) -> bytes:
    return name.encode("utf-16-be")


def _numbers(values: Any) -> str:
    """Return the canonical text of a list of floats."""
    text = _ENCODER.encode(values)
    if any(exponent in text for exponent in _UNFOLDED):
        text = _FOLDED.sub(lambda found: _number(float(found[0])), text)
    # JavaScript writes an exponent without a leading zero; of one digit there are 7, 8 and 9 left.
    for digit in "789":
        text = text.replace(f"e-0{digit}", f"e-{digit}")
    return _WHOLE.sub("", text) if ".0" in text else text


def _number(value: float) -> str:
    """Return a float as JavaScript writes it: the digits are Python's, but other ones have an exponent."""
    if not math.isfinite(value):
        raise ValueError
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2] if value else "0"
    mantissa, exponent, power = text.partition("e")
    if not exponent:
        return text
    sign, digits = "-" * (value < 0), mantissa.strip("-").replace(".", "")
    # Number::toString of ECMAScript, which RFC 8785 follows, has exponents from 1e21 on and below 1e-6, Python's repr
    # from 1e16 on and below 1e-4.
    if 16 <= (places := int(power)) < 21:
        return sign + digits.ljust(places + 1, "0")
    if -6 <= places < 0:
        return f"{sign}0.{'0' * (-places - 1)}{digits}"
    return f"{mantissa}e{places:+d}"
