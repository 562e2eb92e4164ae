"""Where in a legacy object the networks are: state dicts in any nest, whole modules, lists of tensors."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

from ckptfmt.families.skeleton import Wiring
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find import layers, modules
from ckptfmt.legacy.find.beside import Surroundings, names_of_things
from ckptfmt.legacy.find.copies import Role, is_network, role_of, split
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Network", "find_networks", "twins"]

_OPTIMIZER_STATE = frozenset({"exp_avg", "exp_avg_sq", "square_avg", "momentum_buffer", "grad_avg", "max_exp_avg_sq"})
# More tensors than this in one container are a network, fewer may be a layer of one.
_LAYER = 8
_RANKS: dict[Role, int] = {"online": 0, "unknown": 1, "target": 2, "optimizer": 3}


# Nests of layers are shallow and small; what is larger is no network, whoever wrote it.
_NEST_DEPTH, _NEST_SIZE = 6, 4096
_MAX_NETWORKS = 256
_MAX_CONTAINERS = 50_000
_NOWHERE = object()


@dataclass(frozen=True, slots=True)
class _Place:
    """An object in the nest, its keys from the root, and what lies around it."""

    member: str
    keys: tuple[Any, ...]
    value: Any
    around: Surroundings | None

    def path(self, prefix: str) -> str:
        inner = "/".join([*map(str, self.keys), *([prefix] if prefix else [])])
        return f"{self.member} : {inner}" if self.member and inner else self.member or inner


@dataclass(frozen=True)
class Network:
    """Tensors that lay together: where, in which role, under which names.

    `path` is made of keys joined by `/`, behind the name of an archive member and ` : ` if there are several
    members; a part that ends in `.` is a prefix of the names.
    """

    path: str
    role: Role
    tensors: Mapping[str, LegacyTensor]
    place: _Place
    prefix: str = ""

    @property
    def rank(self) -> tuple[bool, int]:
        """What ranks one network before another: trunk and linear layers first, then the role."""
        return not is_network(self.tensors.values()), _RANKS[self.role]

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Plain data that lay beside the network, what is nearest first: settings, counters, versions."""
        value, around = self.place.value, self.place.around
        keys = tuple(reversed(self.place.keys))
        if modules.is_module(value):
            around, keys = Surroundings(around, modules.attributes(value)), (_NOWHERE, *keys)
        elif isinstance(value, dict):
            around, keys = Surroundings(around, value), (_NOWHERE, *keys)
        return around.facts(keys) if around else {}

    @cached_property
    def wiring(self) -> Wiring:
        """What a whole module says of the network's layers; nothing where only tensors were saved."""
        value = self.place.value
        return layers.wiring(value, self.prefix) if modules.is_module(value) else Wiring()

    @cached_property
    def context(self) -> tuple[str, ...]:
        """Texts that say what kind of agent this was: keys, class names, names among the facts."""
        kind = (self.place.value.name,) if isinstance(self.place.value, Opaque) else ()
        return (*map(str, self.place.keys), self.path, *kind, *names_of_things(self.facts))


def find_networks(members: Mapping[str, Any]) -> tuple[Network, ...]:
    """Return every network in the objects of a legacy file, the best first; none where there are no tensors.

    Online networks come before target copies, networks with a trunk before other tensors, optimizer state
    last. Networks of equal `rank` are equally likely what the file is about.
    """
    places = (_Place(member, (), value, None) for member, value in members.items())
    found = list(islice((network for place in places for network in _walk(place)), _MAX_NETWORKS))
    found = _with_online(found)
    order = {id(network): i for i, network in enumerate(found)}
    return tuple(sorted(found, key=lambda network: (*network.rank, -_elements(network), order[id(network)])))


def twins(networks: Sequence[Network]) -> tuple[str, ...]:
    """Return the paths of networks that are exactly as likely as the first: nothing but a `key` decides.

    They have the same names and shapes and the same rank (two critics, two heads of an ensemble), and other
    tensors. Empty where the first stands alone.
    """
    first = networks[0]
    own = {tensor.identity for tensor in first.tensors.values()}
    alike = [
        network.path
        for network in networks[1:]
        if network.rank == first.rank
        and _signature(network) == _signature(first)
        and {tensor.identity for tensor in network.tensors.values()} != own
    ]
    return (first.path, *alike) if alike and is_network(first.tensors.values()) else ()


def _elements(network: Network) -> int:
    return sum(tensor.nbytes for tensor in network.tensors.values())


def _walk(root: _Place) -> Iterator[Network]:
    """Go through the nest breadth first: networks lie near the root, replay buffers are deep and wide."""
    queue, seen = deque([root]), {id(root.value)}
    while queue:
        place = queue.popleft()
        held, whole = _held(place.value)
        if held is not None:
            yield from _networks(place, held)
        for below in () if whole else _below(place):
            if id(below.value) not in seen and len(seen) < _MAX_CONTAINERS:
                seen.add(id(below.value))
                queue.append(below)


def _held(value: Any) -> tuple[dict[str, LegacyTensor] | None, bool]:
    """Return the tensors of a container that is a network, if it is one, and whether that is all of it."""
    if isinstance(value, LegacyTensor):
        return {"tensor": value}, True
    if modules.is_module(value):
        return modules.tensors(value), True
    if isinstance(value, dict) and "param_groups" in value:
        return _flatten(value), True
    if (nested := _nest(value)) is not None:
        return nested, True
    direct = {str(key): item for key, item in _items(value) if isinstance(item, LegacyTensor)}
    if any(len(tensor.shape) > 1 for tensor in direct.values()):
        return direct, False
    return None, False


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
    stack: list[tuple[str, int, Any]] = [("", 0, value)]
    leaves = 0
    while stack:
        prefix, depth, node = stack.pop()
        direct, inner = _layer(node)
        if direct is None or depth > _NEST_DEPTH or len(stack) + len(inner) + len(found) > _NEST_SIZE:
            return None
        leaves += bool(direct)
        found |= {f"{prefix}{key}": item for key, item in direct}
        stack += [(f"{prefix}{key}.", depth + 1, item) for key, item in reversed(inner)]
    return found if leaves > 1 and any(len(tensor.shape) > 1 for tensor in found.values()) else None


def _layer(node: Any) -> tuple[list[tuple[Any, LegacyTensor]] | None, list[tuple[Any, Any]]]:
    """Return the tensors of one layer and the containers beside them; None for what is no layer of a nest."""
    if len(node) > _NEST_SIZE:
        return None, []
    items = _items(node)
    direct = [(key, item) for key, item in items if isinstance(item, LegacyTensor)]
    inner = [(key, item) for key, item in items if isinstance(item, dict | list | tuple) and item]
    foreign = len(direct) + len(inner) < len(items) or _OPTIMIZER_STATE & {str(key) for key, _ in items}
    if foreign or len(direct) > _LAYER or is_network(item for _, item in direct):
        return None, []
    return direct, inner


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


def _below(place: _Place) -> Iterator[_Place]:
    items = _items(place.value)
    node = dict(items) if isinstance(place.value, dict | Opaque) and all(_hashable(key) for key, _ in items) else {}
    around = Surroundings(place.around, node)
    for key, item in items:
        if item and isinstance(item, dict | list | tuple | Opaque):
            yield _Place(place.member, (*place.keys, key), item, around)


def _hashable(key: Any) -> bool:
    return isinstance(key, str | int | float | bytes | None)


def _networks(place: _Place, tensors: Mapping[str, LegacyTensor]) -> Iterator[Network]:
    if _is_optimizer(place, tensors):
        yield Network(place.path(""), "optimizer", tensors, place)
        return
    outer = role_of(" ".join(map(str, place.keys)))
    for part in split(tensors):
        role = part.role if part.role != "unknown" else outer
        yield Network(place.path(part.prefix), role, part.tensors, place, part.prefix)


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
