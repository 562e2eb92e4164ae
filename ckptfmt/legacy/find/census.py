"""Every tensor of a foreign object, each once: what of it was not taken, and why."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.keys import key_text
from ckptfmt.legacy.find.nest import items
from ckptfmt.legacy.find.unread import kind_of
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Leaf", "Leftover", "leftovers", "same"]

Leaf = LegacyTensor | Opaque


class _Place:
    """Where something lies: a key (the member, at the root) and what it is in; `kept` where something below was taken.

    A place knows only the one around it, so that what lies deep costs no more than what lies flat.
    """

    __slots__ = ("around", "highest", "kept", "key")

    def __init__(self, around: "_Place | None", key: Any) -> None:
        self.around = around
        self.key = key
        self.kept = False
        # The highest place around that nothing was taken of, once it is known.
        self.highest: _Place | None = None

    def keep(self) -> None:
        """Note that something here was taken."""
        place: _Place | None = self
        while place is not None and not place.kept:
            place.kept = True
            place = place.around

    def lost(self) -> "_Place":
        """Return the highest place around, or this one, that nothing was taken of."""
        path: list[_Place] = []
        place = self
        while place.highest is None and place.around is not None and not place.around.kept:
            path.append(place)
            place = place.around
        found = place.highest or place
        for below in path:
            below.highest = found
        return found

    def text(self) -> str:
        """Return the place as messages name it."""
        keys: list[str] = []
        place = self
        while place.around is not None:
            keys.append(key_text(place.key))
            place = place.around
        member, inner = str(place.key), "/".join(reversed(keys))
        return f"{member} : {inner}" if member and inner else member or inner


@record
class Leftover:
    """Tensors that lie together and were not taken, with the reason."""

    path: str
    tensors: tuple[Leaf, ...]
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.path, 120) or 'the root'} ({self.reason})"


def same(tensor: Leaf) -> Any:
    """Return what is equal for tensors that are the same elements, whatever they are called."""
    if not isinstance(tensor, LegacyTensor) or not tensor.nbytes:
        return id(tensor)
    return (tensor.was or tensor).identity


def leftovers(
    members: Mapping[str, Any], taken: Iterable[LegacyTensor], reasons: Iterable[tuple[Collection[Leaf], str]] = ()
) -> tuple[Leftover, ...]:
    """Return what of the tensors of `members` is not among `taken`, joined where nothing of a container was taken.

    `reasons` are tensors of which more is known than that they lay beside the network.
    """
    kept = {same(tensor) for tensor in taken}
    known = {same(tensor): reason for tensors, reason in reasons for tensor in tensors}
    rest: list[tuple[_Place, Leaf]] = []
    for place, leaf in _leaves(members):
        if same(leaf) in kept:
            place.keep()
        else:
            rest.append((place, leaf))
    groups: dict[_Place, list[Leaf]] = {}
    for place, leaf in rest:
        groups.setdefault(place.lost(), []).append(leaf)
    return tuple(Leftover(place.text(), tuple(group), _reason(group, known)) for place, group in groups.items())


def _leaves(members: Mapping[str, Any]) -> Iterator[tuple[_Place, Leaf]]:
    """Yield each tensor once, with the first place it was seen at."""
    stack = [(_Place(None, member), value) for member, value in reversed([*members.items()])]
    containers: set[int] = set()
    seen: set[Any] = set()
    while stack:
        place, value = stack.pop()
        if isinstance(value, LegacyTensor) or kind_of(value):
            if same(value) not in seen:
                seen.add(same(value))
                yield place, value
        elif isinstance(value, dict | list | tuple | Opaque) and id(value) not in containers:
            containers.add(id(value))
            stack += reversed([(_Place(place, key), item) for key, item in items(value) if _may_hold(item)])


def _may_hold(value: Any) -> bool:
    return isinstance(value, LegacyTensor | Opaque) or (isinstance(value, dict | list | tuple) and bool(value))


def _reason(group: list[Leaf], known: Mapping[Any, str]) -> str:
    kinds: dict[str, int] = {}
    for leaf in group:
        kind = kind_of(leaf) or "tensor"
        kinds[kind] = kinds.get(kind, 0) + 1
    counted = " and ".join(f"{n:,} {kind}{'s' if n > 1 else ''}" for kind, n in kinds.items())
    told = {known.get(same(leaf), "") for leaf in group}
    why = told.pop() if len(told) == 1 else ""
    if not why:
        why = "" if "tensor" not in kinds else "beside the network"
    return f"{why}, {counted}" if why else f"{counted}, which cannot be stored"
