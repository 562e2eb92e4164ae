"""Digests of bytes, files and JSON: BLAKE3 for tensors, SHA-256 for files, RFC 8785 below the JSON ones.

BLAKE3 is fast enough to check on every load; SHA-256 is what every other tool speaks.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import rfc8785
from blake3 import blake3

from ckptfmt.errors import ManifestError

__all__ = ["canonical", "content_digest", "json_digest", "manifest_digest", "new_blake3", "tensor_digest"]


# Writes what RFC 8785 asks for, as long as keys are ASCII and numbers are those that `_exact` lets through.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
_MAX_EXACT = 2**53 - 1


def new_blake3(data: bytes = b"") -> Any:
    """Return a BLAKE3 hasher with `update(bytes)` and `hexdigest()`; both release the GIL."""
    return blake3(data)


def tensor_digest(data: bytes | bytearray | memoryview) -> str:
    """Return the BLAKE3 digest, in hex, of a tensor's bytes as they are stored."""
    return blake3(data).hexdigest()


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value; raise `ManifestError` where it has none."""
    try:
        return _ENCODER.encode(value if _is_exact(value) else _exact(value)).encode("utf-8")
    except (TypeError, ValueError):
        pass  # the general way, which is several times slower, or says what is wrong
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as e:
        raise ManifestError(f"has no canonical form: {e}", where="manifest.json") from None


def json_digest(value: Any) -> str:
    """Return `sha256:` and the SHA-256, in hex, of the canonical form of a JSON value."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def content_digest(tensors: Iterable[tuple[str, str, Iterable[int], str]]) -> str:
    """Return the identity of a network from (name, dtype, shape, blake3) of each stored tensor.

    The order in which the tensors come does not matter.
    """
    rows = sorted([name, dtype, list(shape), digest] for name, dtype, shape, digest in tensors)
    return json_digest(rows)


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Return the digest of a manifest in its JSON form, its own `manifest_digest` left out."""
    return json_digest({key: value for key, value in manifest.items() if key != "manifest_digest"})


def _is_exact(value: Any) -> bool:
    """Return whether Python and RFC 8785 write a value alike as it is, without a copy of it."""
    kind = type(value)
    if kind is dict:
        return str.isascii("".join(value)) and all(map(_is_exact, value.values()))
    if kind is list or kind is tuple:
        kinds = set(map(type, value))
        if kinds == {int}:
            within: bool = min(value) >= -_MAX_EXACT and max(value) <= _MAX_EXACT
            return within
        return not kinds - {str} or all(map(_is_exact, value))
    if kind is int:
        return bool(-_MAX_EXACT <= value <= _MAX_EXACT)
    if kind is float:
        return bool(abs(value) >= 1e-4 and not value.is_integer() and math.isfinite(value))
    return kind is str or kind is bool or value is None


def _exact(value: Any) -> Any:
    """Return a JSON value whose numbers Python and RFC 8785 write alike; raise `ValueError` where there is none.

    Both write the shortest digits that read back the same; they differ in whole numbers (`1.0` and `1`), in
    when an exponent is used, and in how keys beyond ASCII are sorted.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict and "".join(value).isascii():
        return {key: _exact(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_exact(item) for item in value]
    if (kind is int or (kind is float and value.is_integer())) and -_MAX_EXACT <= value <= _MAX_EXACT:
        return int(value)
    if kind is float and abs(value) >= 1e-4 and not value.is_integer():
        return value
    raise ValueError
