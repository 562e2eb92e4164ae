"""Every tensor of a foreign object, each once: what of it was not taken, and why."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.keys import key_text
from ckptfmt.legacy.find.nest import items
from ckptfmt.legacy.find.unread import kind_of
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Leaf", "Leftover", "leftovers", "same"]

Leaf = LegacyTensor | Opaque
_Path = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Tensors that lie together and were not taken, with the reason."""

    path: str
    tensors: tuple[Leaf, ...]
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.path, 120) or 'the root'} ({self.reason})"


def same(tensor: Leaf) -> Any:
    """Return what is equal for tensors that are the same elements, whatever they are called."""
    return tensor.identity if isinstance(tensor, LegacyTensor) and tensor.nbytes else id(tensor)


def leftovers(
    members: Mapping[str, Any], taken: Iterable[LegacyTensor], reasons: Iterable[tuple[Collection[Leaf], str]] = ()
) -> tuple[Leftover, ...]:
    """Return what of the tensors of `members` is not among `taken`, joined where nothing of a container was taken.

    `reasons` are tensors of which more is known than that they lay beside the network.
    """
    kept = {same(tensor) for tensor in taken}
    known = {same(tensor): reason for tensors, reason in reasons for tensor in tensors}
    roots: set[_Path] = set()
    rest: list[tuple[_Path, Leaf]] = []
    for path, leaf in _leaves(members):
        if same(leaf) in kept:
            roots.update(path[:i] for i in range(len(path) + 1))
        else:
            rest.append((path, leaf))
    groups: dict[_Path, list[Leaf]] = {}
    for path, leaf in rest:
        place = next(path[:i] for i in range(len(path) + 1) if path[:i] not in roots or i == len(path))
        groups.setdefault(place, []).append(leaf)
    return tuple(Leftover(_text(place), tuple(group), _reason(group, known)) for place, group in groups.items())


def _leaves(members: Mapping[str, Any]) -> Iterator[tuple[_Path, Leaf]]:
    """Yield each tensor once, with the first place it was seen at: (member, position and key, …)."""
    stack: list[tuple[_Path, Any]] = [((member,), value) for member, value in reversed([*members.items()])]
    containers: set[int] = set()
    seen: set[Any] = set()
    while stack:
        path, value = stack.pop()
        if isinstance(value, LegacyTensor) or kind_of(value):
            if same(value) not in seen:
                seen.add(same(value))
                yield path, value
        elif isinstance(value, dict | list | tuple | Opaque) and id(value) not in containers:
            containers.add(id(value))
            below = [((*path, (i, key)), item) for i, (key, item) in enumerate(items(value)) if _may_hold(item)]
            stack += reversed(below)


def _may_hold(value: Any) -> bool:
    return isinstance(value, LegacyTensor | Opaque) or (isinstance(value, dict | list | tuple) and bool(value))


def _text(place: _Path) -> str:
    member, *keys = place or ("",)
    inner = "/".join(key_text(key) for _, key in keys)
    return f"{member} : {inner}" if member and inner else member or inner


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
