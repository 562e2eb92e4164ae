"""How many tensors a checkpoint may have: whoever reads one pays some microseconds and a kilobyte for each."""

from collections.abc import Mapping
from typing import Any

__all__ = ["MAX_TENSORS", "count_tensors", "too_many"]

# Some hundred times what the networks of an agent have, with the two moments of their optimizers. What takes longest of
# so many, a comparison in which all differ, stays within 10 s of a core and 1 GiB.
MAX_TENSORS = 32_768


def count_tensors(raw: Mapping[str, Any]) -> int:
    """Return how many tensors the JSON of a manifest lists: stored ones, slices among them, and tied names.

    The whole tensors of `split` are no more than their slices; where they are, they count instead. What is of
    another type than the format says counts as nothing: it is refused for that.
    """
    stored = sum(_size(entry, "tensors") + _size(entry, "tied") for entry in _values(raw, "files"))
    return max(stored, sum(_size(entry, "tensors") for entry in _values(raw, "split")))


def too_many(count: int) -> str:
    """Return what is to be said of so many tensors; "" where a checkpoint may have them."""
    return f"lists {count:,} tensors, more than the {MAX_TENSORS:,} allowed" if count > MAX_TENSORS else ""


def _values(raw: Mapping[str, Any], name: str) -> list[Any]:
    found = raw.get(name)
    return list(found.values()) if isinstance(found, dict) else []


def _size(entry: Any, name: str) -> int:
    found = entry.get(name) if isinstance(entry, dict) else None
    return len(found) if isinstance(found, dict) else 0
