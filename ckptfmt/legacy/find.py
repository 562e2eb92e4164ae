"""Where in a legacy object the networks are: state dicts in any nest, whole modules, lists of tensors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ckptfmt.legacy import modules
from ckptfmt.legacy.beside import names_of_things, plain_beside
from ckptfmt.legacy.copies import Role, is_network, role_of, split
from ckptfmt.legacy.inert import Opaque
from ckptfmt.legacy.storages import LegacyTensor

__all__ = ["Network", "find_networks"]

_OPTIMIZER_STATE = frozenset({"exp_avg", "exp_avg_sq", "square_avg", "momentum_buffer", "grad_avg", "max_exp_avg_sq"})
# More tensors than this in one container are a network, fewer may be a layer of one.
_LAYER = 8
_RANKS: dict[Role, int] = {"online": 0, "unknown": 1, "target": 2, "optimizer": 3}


@dataclass(frozen=True)
class Network:
    """Tensors that lay together: where, in which role, under which names.

    `path` is made of keys joined by `/`, behind the name of an archive member and ` : ` if there are several
    members; a part that ends in `.` is a prefix of the names. `facts` is plain data that lay beside it,
    `context` texts that say what kind of agent it was.
    """

    path: str
    role: Role
    tensors: Mapping[str, LegacyTensor]
    facts: Mapping[str, Any]
    context: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[bool, int]:
        """What ranks one network before another: trunk and linear layers first, then the role."""
        return not is_network(self.tensors.values()), _RANKS[self.role]


@dataclass(frozen=True, slots=True)
class _Place:
    """An object in the nest: its keys from the root, the containers around it, nearest first."""

    member: str
    keys: tuple[str, ...]
    value: Any
    around: tuple[Mapping[Any, Any], ...]

    def below(self, key: Any, value: Any, node: Mapping[Any, Any] | None = None) -> "_Place":
        around = self.around if node is None else (node, *self.around)
        return _Place(self.member, (*self.keys, str(key)), value, around)

    def path(self, prefix: str) -> str:
        inner = "/".join([*self.keys, prefix] if prefix else self.keys)
        return f"{self.member} : {inner}" if self.member and inner else self.member or inner


def find_networks(members: Mapping[str, Any]) -> tuple[Network, ...]:
    """Return every network in the objects of a legacy file, the best first; none where there are no tensors.

    Online networks come before target copies, networks with a trunk before other tensors, optimizer state
    last. Networks of equal `rank` are equally likely what the file is about.
    """
    found = [network for member, value in members.items() for network in _walk(_Place(member, (), value, ()))]
    found = _with_online(found)
    order = {id(network): i for i, network in enumerate(found)}
    return tuple(sorted(found, key=lambda network: (*network.rank, -_elements(network), order[id(network)])))


def _elements(network: Network) -> int:
    return sum(tensor.nbytes for tensor in network.tensors.values())


def _walk(root: _Place) -> Iterator[Network]:
    stack = [root]
    while stack:
        place = stack.pop()
        held = _held(place)
        if held is not None:
            yield from _networks(place, held)
        elif isinstance(place.value, LegacyTensor):
            yield from _networks(place, {"tensor": place.value})
        stack += reversed(list(_below(place, held is not None)))


def _held(place: _Place) -> dict[str, LegacyTensor] | None:
    """Return the tensors of a container that is a network as a whole, None where it is none."""
    value = place.value
    if modules.is_module(value):
        return modules.tensors(value)
    if isinstance(value, dict) and "param_groups" in value:
        return _flatten(value)
    nested = _nest(value)
    if nested is not None:
        return nested
    direct = {str(key): item for key, item in _items(value) if isinstance(item, LegacyTensor)}
    if any(len(tensor.shape) > 1 for tensor in direct.values()):
        return direct
    return None


def _items(value: Any) -> list[tuple[Any, Any]]:
    """Return the (key, value) pairs of a dict, of a list of named tensors, or of any list by position."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        if value and all(_is_named(item) for item in value):
            return [(item[0], item[1]) for item in value]
        return list(enumerate(value))
    if isinstance(value, Opaque):
        return _contents(value)
    return []


def _is_named(item: Any) -> bool:
    return (
        isinstance(item, list | tuple)
        and len(item) == 2
        and isinstance(item[0], str)
        and isinstance(item[1], LegacyTensor)
    )


def _contents(value: Opaque) -> list[tuple[Any, Any]]:
    """What an instance or a call of unknown code was made of."""
    states: Sequence[Any] = value.state if isinstance(value.state, tuple) else (value.state,)
    found = [pair for state in states if isinstance(state, dict) for pair in state.items()]
    return [*found, *value.pairs, *enumerate(value.items), *enumerate(value.args)]


def _nest(value: Any) -> dict[str, LegacyTensor] | None:
    """Return the tensors of a nest of layers, `{"conv": {"0": {"weight": …}}}`, under dotted names."""
    if not isinstance(value, dict | list | tuple) or len(value) < 2:
        return None
    found: dict[str, LegacyTensor] = {}
    stack = [("", value)]
    leaves = 0
    while stack:
        prefix, node = stack.pop()
        items = _items(node)
        inner = [(key, item) for key, item in items if not isinstance(item, LegacyTensor)]
        if any(not isinstance(item, dict | list | tuple) or not item for _, item in inner):
            return None
        if len(items) - len(inner) > _LAYER or _OPTIMIZER_STATE & {str(key) for key, _ in items}:
            return None
        leaves += len(items) > len(inner)
        found |= {f"{prefix}{key}": item for key, item in items if isinstance(item, LegacyTensor)}
        stack += [(f"{prefix}{key}.", item) for key, item in reversed(inner)]
    return found if leaves > 1 and any(len(tensor.shape) > 1 for tensor in found.values()) else None


def _flatten(value: Any) -> dict[str, LegacyTensor]:
    found: dict[str, LegacyTensor] = {}
    stack = [("", value)]
    while stack:
        prefix, node = stack.pop()
        for key, item in reversed(_items(node)):
            if isinstance(item, LegacyTensor):
                found[f"{prefix}{key}"] = item
            else:
                stack.append((f"{prefix}{key}/", item))
    return found


def _below(place: _Place, taken: bool) -> Iterator[_Place]:
    """Yield the objects inside a container that are not part of a network found there."""
    value = place.value
    if modules.is_module(value) or (isinstance(value, dict) and "param_groups" in value):
        return
    if taken and _nest(value) is not None:
        return
    items = _items(value)
    node = dict(items) if isinstance(value, dict | Opaque) else None
    for key, item in items:
        if isinstance(item, dict | list | tuple | Opaque):
            yield place.below(key, item, node)


def _networks(place: _Place, tensors: Mapping[str, LegacyTensor]) -> Iterator[Network]:
    own: tuple[Mapping[Any, Any], ...] = ()
    names: tuple[str, ...] = ()
    if isinstance(place.value, Opaque):
        names = (place.value.name,)
    if modules.is_module(place.value):
        own = (modules.attributes(place.value),)
    elif isinstance(place.value, dict):
        own = (place.value,)
    facts = plain_beside((*own, *place.around))
    context = (*place.keys, *names, *names_of_things(facts))
    if _is_optimizer(place, tensors):
        yield Network(place.path(""), "optimizer", tensors, facts, context)
        return
    outer = role_of(" ".join(place.keys))
    for part in split(tensors):
        role = part.role if part.role != "unknown" else outer
        yield Network(place.path(part.prefix), role, part.tensors, facts, (*context, part.prefix))


def _is_optimizer(place: _Place, tensors: Mapping[str, LegacyTensor]) -> bool:
    if isinstance(place.value, dict) and "param_groups" in place.value:
        return True
    leaves = {name.rsplit(".", 1)[-1] for name in tensors}
    return bool(leaves & _OPTIMIZER_STATE)


def _with_online(found: list[Network]) -> list[Network]:
    """The one network that a target copy has the names and shapes of is the online one."""
    targets = {_signature(network) for network in found if network.role == "target"}
    alone: dict[object, list[Network]] = {}
    for network in found:
        if network.role in ("unknown", "online") and (signature := _signature(network)) in targets:
            alone.setdefault(signature, []).append(network)
    online = {id(networks[0]) for networks in alone.values() if len(networks) == 1}
    return [replace(network, role="online") if id(network) in online else network for network in found]


def _signature(network: Network) -> frozenset[tuple[str, tuple[int, ...]]]:
    return frozenset((name, tensor.shape) for name, tensor in network.tensors.items())
