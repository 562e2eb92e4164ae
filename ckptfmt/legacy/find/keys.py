"""Keys of a foreign nest as text: the same text in every run, and one name each where two would become one."""

from collections.abc import Iterable
from typing import Any, TypeVar

from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Keys", "distinct", "joined", "key_text"]

_T = TypeVar("_T")


def key_text(key: Any) -> str:
    """Return a key as text; a tensor or a placeholder in it is told by what it is, not by where it lies."""
    match key:
        case tuple():
            inner = ", ".join(map(key_text, key))
            return f"({inner},)" if len(key) == 1 else f"({inner})"
        case LegacyTensor():
            return f"tensor {key.dtype} {list(key.shape)}"
        case Opaque():
            return key.name
    return str(key)


# Keys from a root: those before the last, and the last. What lies deep shares them with what lies around it.
Keys = tuple["Keys | None", Any]


def joined(keys: Keys | None, separator: str) -> str:
    """Return keys from a root as one text."""
    parts = []
    while keys is not None:
        keys, key = keys
        parts.append(key_text(key))
    return separator.join(reversed(parts))


def distinct(pairs: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    """Return the pairs as a dict that loses none: a name that is taken goes on with `~2`, `~3` and so on.

    >>> distinct([("1", "int"), ("1", "str")])
    {'1': 'int', '1~2': 'str'}
    """
    found: dict[str, _T] = {}
    seen: dict[str, int] = {}
    for name, value in pairs:
        free = name
        while free in found:
            seen[name] = seen.get(name, 1) + 1
            free = f"{name}~{seen[name]}"
        found[free] = value
    return found
