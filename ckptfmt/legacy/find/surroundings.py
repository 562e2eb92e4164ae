"""What lay beside a network and is no tensor: plain data (settings, counters, versions), and the names of the rest."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.families.names import words
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.keys import distinct, key_text
from ckptfmt.legacy.find.modules import is_module
from ckptfmt.legacy.find.nest import held
from ckptfmt.legacy.find.unread import kind_of
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Surroundings", "agent_names"]

_NOTHING = object()
_MAX_DEPTH = 12
_MAX_ITEMS = 10_000
# A file of a million foreign objects has told enough with the first of them.
_MOST_NAMED = 1_000
_LONGEST_PATH = 120

# Keys whose text may tell what kind of agent this is.
_NAMING = frozenset(
    {"agent", "algo", "algorithm", "model", "class", "network", "net", "type", "name", "method", "policy"}
)
_LONGEST_NAME = 80

_Path = tuple[str, ...]


class Surroundings:
    """The containers around a place, nearest first, each without the key that leads on to the place.

    What of a container is plain data is found once, for all the places inside it.
    """

    def __init__(self, outer: "Surroundings | None", node: Mapping[Any, Any]) -> None:
        self._outer = outer
        self._node = node

    @cached_property
    def _sorted(self) -> dict[Any, tuple[Any, list[str]]]:
        """Return by key what of a value is plain data, and what in it is none."""
        found: dict[Any, tuple[Any, list[str]]] = {}
        for key, value in self._node.items():
            other: list[str] = []
            found[key] = _plain(value, (key_text(key),), other), other
        return found

    def facts(self, without: Sequence[Any]) -> dict[str, Any]:
        """Return the plain data of all containers; `without` are the keys to the place, the innermost first."""
        found: dict[str, Any] = {}
        for name, plain, _ in self._around(without):
            if plain is not _NOTHING:
                found.setdefault(str(name), plain)
        return found

    def others(self, without: Sequence[Any]) -> tuple[str, ...]:
        """Return the paths of what is neither plain data nor a tensor, each with what it is."""
        named = [text for _, _, other in self._around(without) for text in other]
        more = (f"and {len(named) - _MOST_NAMED:,} more",) if len(named) > _MOST_NAMED else ()
        return (*named[:_MOST_NAMED], *more)

    def _around(self, without: Sequence[Any]) -> Iterator[tuple[Any, Any, list[str]]]:
        around: Surroundings | None = self
        for key in without:
            if around is None:
                break
            yield from ((name, *found) for name, found in around._sorted.items() if name != key)
            around = around._outer


def _plain(value: Any, path: _Path, other: list[str]) -> Any:
    """Return a value as plain data; what of it is none, and no tensor, is named in `other`."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case LegacyTensor():
            return _NOTHING
        case Opaque(state=dict()) if not value.args:
            return _attributes(value, path, other)
        case dict() if "param_groups" in value:
            # One with a state is told of with all other tensors.
            inside = held(value)
            bare = inside is None or not inside.tensors
            return _named("settings of an optimizer", path, other) if bare else _NOTHING
        case dict():
            return _plain_dict(value, path, other)
        case list() | tuple():
            return _plain_list(value, path, other)
        case Opaque():
            return _NOTHING if kind_of(value) else _named(value.name, path, other)
    return _named(type(value).__name__, path, other)


def _attributes(value: Opaque, path: _Path, other: list[str]) -> Any:
    # What a module beside the network is made of is no fact; its tensors are told with all others.
    if is_module(value):
        return _plain(value.state, path, [])
    if value.items or any(key not in value.state for key, _ in value.pairs):
        _named(f"contents of {value.name}", path, other)
    return _plain(value.state, path, other)


def _plain_dict(value: Mapping[Any, Any], path: _Path, other: list[str]) -> Any:
    if len(path) > _MAX_DEPTH or len(value) > _MAX_ITEMS:
        return _named(f"mapping of {len(value):,}", path, other)
    texts = distinct((key_text(key), item) for key, item in value.items())
    pairs = ((key, _plain(item, (*path, key), other)) for key, item in texts.items())
    kept = {key: plain for key, plain in pairs if plain is not _NOTHING}
    return kept if kept or not value else _NOTHING


def _plain_list(value: Sequence[Any], path: _Path, other: list[str]) -> Any:
    """Return a list whose items are all plain data: where one is left out, the others mean something else."""
    if len(path) > _MAX_DEPTH or len(value) > _MAX_ITEMS:
        return _named(f"list of {len(value):,}", path, other)
    inside: list[str] = []
    kept = [_plain(item, (*path, str(i)), inside) for i, item in enumerate(value)]
    if inside:
        return _named(f"list of {len(value):,}", path, other)
    return _NOTHING if any(item is _NOTHING for item in kept) else kept


def _named(kind: str, path: _Path, other: list[str]) -> Any:
    other.append(f"{printable('/'.join(path), _LONGEST_PATH)} ({printable(kind, _LONGEST_NAME)})")
    return _NOTHING


def agent_names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return short texts that name an agent, an algorithm or a class, from facts and the settings in them."""
    found = []
    for holder in (facts, *(value for value in facts.values() if isinstance(value, dict))):
        for key, value in holder.items():
            if isinstance(value, str) and len(value) <= _LONGEST_NAME and _NAMING & frozenset(words(key)):
                found.append(value)
    return tuple(dict.fromkeys(found))
