"""Plain data that lay beside a network: settings, counters, versions, without tensors and foreign objects."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ckptfmt.architecture.names import words
from ckptfmt.legacy.inert import Opaque
from ckptfmt.legacy.storages import LegacyTensor

__all__ = ["names_of_things", "plain_beside"]

_NOTHING = object()
_MAX_DEPTH = 12
_MAX_ITEMS = 10_000

# Keys whose text may tell what kind of agent this is.
_NAMING = frozenset(
    {"agent", "algo", "algorithm", "model", "class", "network", "net", "type", "name", "method", "policy"}
)
_LONGEST_NAME = 80


def plain_beside(nodes: Iterable[Mapping[Any, Any]]) -> dict[str, Any]:
    """Return the plain data of containers around a network; what lies nearest comes first and wins."""
    found: dict[str, Any] = {}
    for node in nodes:
        for key, value in node.items():
            plain = _plain(value, 0)
            if plain is not _NOTHING:
                found.setdefault(str(key), plain)
    return found


def _plain(value: Any, depth: int) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case LegacyTensor():
            return _NOTHING
        case Opaque():
            return _plain(value.state, depth) if isinstance(value.state, dict) and not value.args else _NOTHING
        case dict():
            return _NOTHING if _is_optimizer(value) else _plain_dict(value, depth)
        case list() | tuple():
            return _plain_list(value, depth)
    return _NOTHING


def _plain_dict(value: Mapping[Any, Any], depth: int) -> Any:
    if depth >= _MAX_DEPTH or len(value) > _MAX_ITEMS:
        return _NOTHING
    kept = {str(key): plain for key, item in value.items() if (plain := _plain(item, depth + 1)) is not _NOTHING}
    return kept if kept or not value else _NOTHING


def _plain_list(value: Sequence[Any], depth: int) -> Any:
    if depth >= _MAX_DEPTH or len(value) > _MAX_ITEMS:
        return _NOTHING
    kept = [_plain(item, depth + 1) for item in value]
    return _NOTHING if any(item is _NOTHING for item in kept) else kept


def _is_optimizer(value: Mapping[Any, Any]) -> bool:
    return "param_groups" in value


def names_of_things(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return short texts that name an agent, an algorithm or a class, from facts and the settings in them."""
    found = []
    for holder in (facts, *(value for value in facts.values() if isinstance(value, dict))):
        for key, value in holder.items():
            if isinstance(value, str) and len(value) <= _LONGEST_NAME and _NAMING & frozenset(words(key)):
                found.append(value)
    return tuple(dict.fromkeys(found))
