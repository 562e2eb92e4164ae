"""Manifests that were written before 1.0 was settled, read as what they came to be.

They call themselves 1.0 and differ in one thing: a tensor's digest stood in hex under the name of its algorithm.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["PRERELEASE", "is_settled", "settled"]

PRERELEASE = "1.0-pre"


def is_settled(raw: Mapping[str, Any]) -> bool:
    """Return whether a raw manifest has the fields of the released 1.0."""
    return not any("blake3" in tensor for tensor in _tensors(raw))


def settled(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a raw manifest in the fields of the released 1.0; what is in them already stays what it is."""
    if is_settled(raw):
        return raw
    return {**raw, "files": {name: _settled_file(entry) for name, entry in raw["files"].items()}}


def _tensors(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    files = raw.get("files")
    entries = [entry for entry in files.values() if isinstance(entry, dict)] if isinstance(files, dict) else []
    listed = [entry["tensors"] for entry in entries if isinstance(entry.get("tensors"), dict)]
    return [tensor for tensors in listed for tensor in tensors.values() if isinstance(tensor, dict)]


def _settled_file(entry: Any) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get("tensors"), dict):
        return entry
    return {**entry, "tensors": {name: _settled_tensor(tensor) for name, tensor in entry["tensors"].items()}}


def _settled_tensor(tensor: Any) -> Any:
    # One with both fields is neither of the two forms; the parser says which field is unknown.
    if not isinstance(tensor, dict) or "blake3" not in tensor or "digest" in tensor:
        return tensor
    return {
        "digest" if name == "blake3" else name: f"blake3:{item}" if name == "blake3" else item
        for name, item in tensor.items()
    }
