"""Digests of bytes, files and JSON: BLAKE3 for tensors, SHA-256 for files, RFC 8785 below the JSON ones.

BLAKE3 is fast enough to check on every load; SHA-256 is what every other tool speaks.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
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


# Writes what RFC 8785 asks for, as long as keys are ASCII and numbers are those that `_is_exact` lets through; in
# a fraction of the time that the library takes, which matters where a hundred manifests are opened.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
# RFC 8785 writes numbers as JavaScript does, whose numbers are whole and exact up to here.
_MAX_EXACT = 2**53 - 1
_CONTAINERS = frozenset({dict, list, tuple})


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
        return _ENCODER.encode(value).encode() if _is_exact(value) else rfc8785.dumps(value)
    except (TypeError, ValueError) as e:
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
