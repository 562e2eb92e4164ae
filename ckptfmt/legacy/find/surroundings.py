"""Plain data that lay beside a network: settings, counters, versions, without tensors and foreign objects."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ckptfmt.families.names import words
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Surroundings", "agent_names"]

_NOTHING = object()
_MAX_DEPTH = 12
_MAX_ITEMS = 10_000

# Keys whose text may tell what kind of agent this is.
_NAMING = frozenset(
    {"agent", "algo", "algorithm", "model", "class", "network", "net", "type", "name", "method", "policy"}
)
_LONGEST_NAME = 80


class Surroundings:
    """The containers around a place, nearest first, each without the key that leads on to the place.

    What of a container is plain data is found once, for all the places inside it.
    """

    def __init__(self, outer: "Surroundings | None", node: Mapping[Any, Any]) -> None:
        self._outer = outer
        self._node = node

    @cached_property
    def _plain(self) -> dict[Any, Any]:
        found = ((key, _plain(value, 0)) for key, value in self._node.items())
        return {key: plain for key, plain in found if plain is not _NOTHING}

    def facts(self, without: Sequence[Any]) -> dict[str, Any]:
        """Return the plain data of all containers; `without` are the keys to the place, the innermost first."""
        found: dict[str, Any] = {}
        around: Surroundings | None = self
        for key in without:
            if around is None:
                break
            for name, plain in around._plain.items():
                if name != key:
                    found.setdefault(str(name), plain)
            around = around._outer
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


def agent_names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return short texts that name an agent, an algorithm or a class, from facts and the settings in them."""
    found = []
    for holder in (facts, *(value for value in facts.values() if isinstance(value, dict))):
        for key, value in holder.items():
            if isinstance(value, str) and len(value) <= _LONGEST_NAME and _NAMING & frozenset(words(key)):
                found.append(value)
    return tuple(dict.fromkeys(found))
