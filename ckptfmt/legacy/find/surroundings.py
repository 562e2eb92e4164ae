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

__all__ = ["Allowance", "Surroundings", "agent_names"]

_NOTHING = object()
# Settings nest less deeply and are shorter; logs of a training may be longer, and are named as left out.
_MAX_DEPTH = 12
_MAX_ITEMS = 10_000
# Values are counted as often as they are written out: of one fact, of all around the networks of a source, and of
# what all its networks are told together. Text counts as one value for so many characters.
_MAX_FACT, _MAX_FACTS, _MAX_TOLD = 100_000, 250_000, 250_000
# Tensors of one network, and of all, that are looked at to tell which network it is.
_MAX_LAYERS, _MAX_ALL_LAYERS = 10_000, 30_000
_PER_VALUE = 64
# A file of a million foreign objects has told enough with the first of them.
_MOST_NAMED = 1_000
# A path is shown on one line.
_LONGEST_PATH = 120

# Keys whose text may tell what kind of agent this is.
_NAMING = frozenset(
    {"agent", "algo", "algorithm", "model", "class", "network", "net", "type", "name", "method", "policy"}
)
# A name of a class fits; what is longer is prose.
_LONGEST_NAME = 80

_Path = tuple[str, ...]


class _TooMuchError(Exception):
    """Plain data that is more than a checkpoint would keep."""


class Allowance:
    """How much plain data may be taken of one source: honest settings and histories are a small part of it."""

    def __init__(self) -> None:
        self._left = _MAX_FACTS
        self._told = _MAX_TOLD
        self._layers = _MAX_ALL_LAYERS
        self.taken = 0

    def begin(self) -> None:
        """Begin with another fact, of which `taken` says the size."""
        self.taken = 0

    def take(self, text: str | bytes = "") -> None:
        """Take one value more; raise `_TooMuchError` where it is one too many."""
        size = 1 + len(text) // _PER_VALUE
        self.taken += size
        self._left -= size
        if self.taken > _MAX_FACT or self._left < 0:
            raise _TooMuchError

    def tell(self, size: int) -> bool:
        """Say whether one more network may be told so many values."""
        self._told -= size
        return self._told >= 0

    def classify(self, tensors: int) -> bool:
        """Say whether one more network may be looked at, of so many tensors."""
        if tensors > _MAX_LAYERS or tensors > self._layers:
            return False
        self._layers -= tensors
        return True


class Surroundings:
    """The containers around a place, nearest first, each without the key that leads on to the place.

    What of a container is plain data is found once, for all the places inside it.
    """

    def __init__(self, outer: "Surroundings | None", node: Mapping[Any, Any], allowance: Allowance) -> None:
        self._outer = outer
        self._node = node
        self.allowance = allowance

    def inside(self, node: Mapping[Any, Any]) -> "Surroundings":
        """Return the surroundings of what lies in a container here."""
        return Surroundings(self, node, self.allowance)

    @cached_property
    def _sorted(self) -> dict[Any, tuple[Any, list[str], int]]:
        """Return by key what of a value is plain data, what in it is none, and how much of it was looked at."""
        found: dict[Any, tuple[Any, list[str], int]] = {}
        # What is small comes first, so that settings are not lost for a history that is too long.
        for key, value in sorted(self._node.items(), key=lambda pair: _length(pair[1])):
            other: list[str] = []
            self.allowance.begin()
            try:
                plain = _Plain(self.allowance, other).of(value, (key_text(key),))
            except _TooMuchError:
                other.clear()
                # A tensor is told of with all others, whatever else was too much.
                if len(found) >= _MOST_NAMED or isinstance(value, LegacyTensor):
                    continue
                plain = _named("more than is kept", (key_text(key),), other)
            found[key] = plain, other, self.allowance.taken
        return {key: found[key] for key in self._node if key in found}

    def facts(self, without: Sequence[Any]) -> dict[str, Any]:
        """Return the plain data of all containers; `without` are the keys to the place, the innermost first."""
        found: dict[str, Any] = {}
        size = 0
        for name, plain, _, taken in self._around(without) if self.allowance.tell(0) else ():
            size += 1
            if plain is not _NOTHING and str(name) not in found:
                found[str(name)] = plain
                size += taken
        return found if self.allowance.tell(size) else {}

    def others(self, without: Sequence[Any]) -> tuple[str, ...]:
        """Return the paths of what is neither plain data nor a tensor, each with what it is."""
        named = [text for _, _, other, _ in self._around(without) for text in other]
        more = (f"and {len(named) - _MOST_NAMED:,} more",) if len(named) > _MOST_NAMED else ()
        return (*named[:_MOST_NAMED], *more)

    def _around(self, without: Sequence[Any]) -> Iterator[tuple[Any, Any, list[str], int]]:
        around: Surroundings | None = self
        for key in without:
            if around is None:
                break
            yield from ((name, *found) for name, found in around._sorted.items() if name != key)
            around = around._outer


def _length(value: Any) -> int:
    held = value.state if isinstance(value, Opaque) else value
    return len(held) if isinstance(held, str | bytes | list | tuple | dict) else 0


class _Plain:
    """Values as plain data; what of them is none, and no tensor, is named in `other`."""

    def __init__(self, allowance: Allowance, other: list[str]) -> None:
        self._allowance = allowance
        self._other = other

    def of(self, value: Any, path: _Path) -> Any:
        """Return a value as plain data, `_NOTHING` where it is none."""
        self._allowance.take(value if isinstance(value, str | bytes) else "")
        match value:
            case None | bool() | int() | float() | str():
                return value
            case LegacyTensor():
                return _NOTHING
            case Opaque(state=dict()) if not value.args:
                return self._attributes(value, path)
            case dict() if "param_groups" in value:
                # One with a state is told of with all other tensors.
                inside = held(value)
                bare = inside is None or not inside.tensors
                return _named("settings of an optimizer", path, self._other) if bare else _NOTHING
            case dict():
                return self._dict(value, path)
            case list() | tuple():
                return self._list(value, path)
            case Opaque():
                return _NOTHING if kind_of(value) else _named(value.name, path, self._other)
        return _named(type(value).__name__, path, self._other)

    def _attributes(self, value: Opaque, path: _Path) -> Any:
        # What a module beside the network is made of is no fact; its tensors are told with all others.
        if is_module(value):
            return _Plain(self._allowance, []).of(value.state, path)
        if value.items or any(key not in value.state for key, _ in value.pairs):
            _named(f"contents of {value.name}", path, self._other)
        return self.of(value.state, path)

    def _dict(self, value: Mapping[Any, Any], path: _Path) -> Any:
        if len(path) > _MAX_DEPTH or len(value) > _MAX_ITEMS:
            return _named(f"mapping of {len(value):,}", path, self._other)
        kept = {}
        for key, item in distinct((key_text(key), item) for key, item in value.items()).items():
            self._allowance.take(key)
            if (plain := self.of(item, (*path, key))) is not _NOTHING:
                kept[key] = plain
        return kept if kept or not value else _NOTHING

    def _list(self, value: Sequence[Any], path: _Path) -> Any:
        """Return a list whose items are all plain data: where one is left out, the others mean something else."""
        if len(path) > _MAX_DEPTH or len(value) > _MAX_ITEMS:
            return _named(f"list of {len(value):,}", path, self._other)
        inside: list[str] = []
        items = _Plain(self._allowance, inside)
        kept = []
        for i, item in enumerate(value):
            kept.append(items.of(item, (*path, str(i))))
            if inside:
                return _named(f"list of {len(value):,}", path, self._other)
        return _NOTHING if any(item is _NOTHING for item in kept) else kept


def _named(kind: str, path: _Path, other: list[str]) -> Any:
    shown = printable("/".join(part[:_LONGEST_PATH] for part in path), _LONGEST_PATH)
    other.append(f"{shown} ({printable(kind, _LONGEST_NAME)})")
    return _NOTHING


def agent_names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return short texts that name an agent, an algorithm or a class, from facts and the settings in them."""
    found = []
    for holder in (facts, *(value for value in facts.values() if isinstance(value, dict))):
        for key, value in holder.items():
            if isinstance(value, str) and len(value) <= _LONGEST_NAME and _NAMING & frozenset(words(key)):
                found.append(value)
    return tuple(dict.fromkeys(found))
