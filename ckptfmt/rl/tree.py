"""Nested Python data as named arrays, and back: how training state is stored without pickle.

Arrays, tensors and byte strings become entries of their own; the rest is JSON in one more entry, `tree`.
Tuples, deques, NumPy scalars and mappings with keys that are not text come back as what they were.
"""

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ckptfmt.errors import ManifestError, WeightsError, printable
from ckptfmt.format.freeform import decode_free, encode_free
from ckptfmt.format.jsontext import parse

__all__ = ["TREE", "flatten", "is_plain", "unflatten"]

TREE = "tree"
# The numbers lie in arrays of their own: this holds names, counters and the returns of evaluations.
_MAX_TREE = 16 << 20
_TAGS = frozenset({"$array", "$tensor", "$scalar", "$bytes", "$tuple", "$deque", "$pairs"})
_LEAVES = (np.ndarray, np.generic, torch.Tensor, bytes, bytearray)

Array = np.ndarray[Any, Any] | torch.Tensor


def is_plain(value: Any) -> bool:
    """Return whether `flatten` can store a value."""
    match value:
        case None | bool() | int() | float() | str():
            return True
        case np.ndarray() | np.generic():
            # What safetensors can hold: longer floats and complex numbers of doubles it cannot.
            return value.dtype.kind in "biufc" and value.dtype.itemsize <= 8
        case torch.Tensor() | bytes() | bytearray():
            return True
        case list() | tuple() | deque():
            return all(is_plain(item) for item in value)
        case Mapping():
            return all(is_plain(item) for pair in value.items() for item in pair)
    return False


def flatten(value: Any) -> dict[str, Array]:
    """Return the arrays of a nested value by path, and under `TREE` its skeleton as uint8 JSON.

    Tensors that are spread over processes stay so. Raises `ManifestError` with the path of a value that cannot be
    stored, `WeightsError` for more text than is read.
    """
    arrays: dict[str, Array] = {}
    skeleton = encode_free(_strip(value, "", arrays), where="$")
    text = json.dumps(skeleton, separators=(",", ":"), ensure_ascii=True)
    if len(text) > _MAX_TREE:
        raise _unsound(f"takes {len(text):,} bytes beside its arrays, more than the {_MAX_TREE:,} allowed")
    return {TREE: np.frombuffer(text.encode(), dtype=np.uint8), **arrays}


def unflatten(arrays: Mapping[str, Any]) -> Any:
    """Return the value whose `flatten` gave these arrays; raise `WeightsError` where they are no such thing.

    Every array stands in one place: a description that names one a thousand times would be a thousand copies of it.
    """
    if TREE not in arrays:
        raise _unsound("holds no description of its contents")
    text = _as_numpy(arrays[TREE])
    if text.dtype != np.uint8 or text.ndim != 1:
        raise _unsound("is no text")
    skeleton = parse(text.tobytes(), where=TREE, limit=_MAX_TREE, error=WeightsError, code="state.tree")
    left = {name: array for name, array in arrays.items() if name != TREE}
    try:
        value = _fill(skeleton, left)
    except KeyError as e:
        raise _unsound(f"names '{printable(e.args[0], 60)}', which is not there or named twice") from None
    except ManifestError as e:
        raise _unsound(e.what) from None
    except (TypeError, ValueError, IndexError, OverflowError, AttributeError) as e:
        raise _unsound(f"describes what is not there: {e}") from None
    if left:
        raise _unsound(f"does not name '{printable(next(iter(left)), 60)}'")
    return value


def _unsound(what: str) -> WeightsError:
    return WeightsError(what, where=TREE, code="state.tree")


def _strip(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    if isinstance(value, _LEAVES):
        return _strip_leaf(value, path or "value", arrays)
    if isinstance(value, tuple | deque | list):
        items = [_strip(item, f"{path}/{i}" if path else str(i), arrays) for i, item in enumerate(value)]
        if isinstance(value, deque):
            return {"$deque": [items, value.maxlen]}
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        pairs = [(key, _strip(item, f"{path}/{key}" if path else str(key), arrays)) for key, item in value.items()]
        plain = all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs)
        return dict(pairs) if plain else {"$pairs": [[_strip(key, path, arrays), item] for key, item in pairs]}
    return value


def _strip_leaf(value: Any, path: str, arrays: dict[str, Array]) -> dict[str, str]:
    name = path
    while name in arrays or name == TREE:
        name += "'"
    if isinstance(value, torch.Tensor):
        arrays[name] = value.detach()
        return {"$tensor": name}
    if isinstance(value, bytes | bytearray):
        arrays[name] = np.frombuffer(bytes(value), dtype=np.uint8)
        return {"$bytes": name}
    arrays[name] = np.asarray(value)
    return {"$scalar" if isinstance(value, np.generic) else "$array": name}


def _fill(value: Any, arrays: dict[str, Any]) -> Any:
    """Return a value with its arrays in place, which are taken out of `arrays`."""
    if isinstance(value, list):
        return [_fill(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), "")
    if len(value) == 1 and tag in _TAGS:
        return _fill_tag(tag, value[tag], arrays)
    if len(value) == 1 and tag.startswith("$"):
        return decode_free(value)
    return {key: _fill(item, arrays) for key, item in value.items()}


def _fill_tag(tag: str, value: Any, arrays: dict[str, Any]) -> Any:
    match tag:
        case "$tuple":
            return tuple(_fill(_of(value, list), arrays))
        case "$deque":
            items, most = value
            return deque(_fill(_of(items, list), arrays), maxlen=most)
        case "$pairs":
            return {_fill(key, arrays): _fill(item, arrays) for key, item in _of(value, list)}
    # Taken out, so that two places cannot share one array, and what no place names shows.
    array = arrays.pop(_of(value, str))
    match tag:
        case "$tensor":
            return array if isinstance(array, torch.Tensor) else torch.from_numpy(np.array(array))
        case "$bytes":
            return _as_numpy(array).astype(np.uint8, casting="no").tobytes()
        case "$scalar":
            return _as_numpy(array).reshape(())[()]
    return np.array(_as_numpy(array))


def _of(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} in place of a {kind.__name__}")
    return value


def _as_numpy(array: Any) -> np.ndarray[Any, Any]:
    return array.numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
