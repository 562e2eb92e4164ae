"""Where in a legacy object the networks are: state dicts in any nest, whole modules, lists of tensors."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from ckptfmt.families.evidence import Wiring
from ckptfmt.families.names import words
from ckptfmt.families.skeleton import Shapes
from ckptfmt.format.dtypes import WHOLE
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find import layers, modules
from ckptfmt.legacy.find.copies import Role, is_network, role_of, split
from ckptfmt.legacy.find.keys import distinct, key_text
from ckptfmt.legacy.find.nest import OPTIMIZER_STATE, Held, Search, held, items
from ckptfmt.legacy.find.surroundings import Allowance, Surroundings, agent_names
from ckptfmt.legacy.find.turned import as_torch
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Network", "find_networks", "twins"]

_RANKS: dict[Role, int] = {"online": 0, "unknown": 1, "target": 2, "optimizer": 3}
# Populations have some dozens of networks and nests some hundreds of containers; more is no checkpoint of one agent.
_MAX_NETWORKS = 256
_MAX_CONTAINERS = 50_000
_NOWHERE = object()
# Words for what an agent saw and did, as the last word of a name, and for where it is kept, in a path.
_RECORDED = frozenset({
    "state", "states", "observation", "observations", "obs", "action", "actions", "reward", "rewards", "return",
    "returns", "done", "dones", "terminal", "terminals", "terminated", "truncated", "frame", "frames", "priorities",
})  # fmt: skip
_MEMORY = frozenset({
    "memory", "replay", "buffer", "transition", "transitions", "experience", "experiences", "trajectory",
    "trajectories", "rollout", "rollouts", "episodes", "dataset",
})  # fmt: skip

# What holds agents of which each is one for itself, and what such a one is called before its number.
_GROUPS = frozenset({"agents", "members", "population", "players", "individuals"})
_MEMBERS = frozenset({"agent", "member", "player", "individual"})


@record(slots=False)
class _Place:
    """An object in the nest, its keys from the root, and what lies around it."""

    member: str
    keys: tuple[Any, ...]
    value: Any
    around: Surroundings

    @cached_property
    def parts(self) -> layers.Parts:
        """The modules of the module that lies here."""
        return layers.Parts(self.value)

    def path(self, prefix: str) -> str:
        inner = "/".join([*map(key_text, self.keys), *([prefix] if prefix else [])])
        return f"{self.member} : {inner}" if self.member and inner else self.member or inner


@record(slots=False)
class Network:
    """Tensors that lay together: where, in which role, under which names.

    `path` is made of keys joined by `/`, behind the name of an archive member and ` : ` if there are several
    members; a part that ends in `.` is a prefix of the names. `unread` names tensors that lay among them and
    that cannot be stored, with their kinds.
    """

    path: str
    role: Role
    tensors: Mapping[str, LegacyTensor]
    place: _Place
    prefix: str = ""
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """What ranks one network before another: no recordings, trunk and linear layers first, then the role."""
        return self.is_recorded, not is_network(self.tensors.values()), _RANKS[self.role]

    @cached_property
    def shapes(self) -> Shapes:
        """The shapes of the tensors by their names."""
        return Shapes((name, tuple(tensor.shape)) for name, tensor in self.tensors.items())

    @cached_property
    def is_classified(self) -> bool:
        """Whether it may be looked at which network this is: one of ten thousand tensors is none that is told."""
        return self.place.around.allowance.classify(len(self.tensors))

    @cached_property
    def is_recorded(self) -> bool:
        """Whether these are things that an agent saw and did, such as the transitions of a replay memory."""
        # Weights are fractions; what has none are pixels, actions, counters.
        if all(tensor.dtype in WHOLE for tensor in self.tensors.values()):
            return True
        leaves = [words(name)[-1:] for name in self.tensors]
        told = sum(bool(_RECORDED & frozenset(leaf)) for leaf in leaves)
        # One tensor may be called state or action by chance; two of them are what an agent saw.
        return told >= 2 or bool(_MEMORY & frozenset(words(" ".join(map(key_text, self.place.keys)))))

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Plain data that lay beside the network, what is nearest first: settings, counters, versions."""
        around, keys = self._around
        return around.facts(keys)

    @cached_property
    def others(self) -> tuple[str, ...]:
        """Paths of what lay beside the network and is neither plain data nor a tensor, each with what it is."""
        around, keys = self._around
        return around.others(keys)

    @property
    def _around(self) -> tuple[Surroundings, tuple[Any, ...]]:
        value, around = self.place.value, self.place.around
        keys = tuple(reversed(self.place.keys))
        if modules.is_module(value):
            return around.inside(modules.attributes(value)), (_NOWHERE, *keys)
        if isinstance(value, dict):
            return around.inside(value), (_NOWHERE, *keys)
        return around, keys

    @cached_property
    def wiring(self) -> Wiring:
        """What a whole module says of the network's layers; nothing where only tensors were saved."""
        return layers.wiring(self.place.parts, self.prefix) if modules.is_module(self.place.value) else Wiring()

    @cached_property
    def context(self) -> tuple[str, ...]:
        """Texts that say what kind of agent this was: keys, class names, names among the facts."""
        kind = (self.place.value.name,) if isinstance(self.place.value, Opaque) else ()
        return (*map(key_text, self.place.keys), self.path, *kind, *agent_names(self.facts))


def find_networks(members: Mapping[str, Any]) -> tuple[Network, ...]:
    """Return every network in the objects of a legacy file, the best first; none where there are no tensors.

    Online networks come before target copies, networks with a trunk before other tensors, optimizer state
    last. Networks of equal `rank` are equally likely what the file is about.
    """
    nowhere = Surroundings(None, {}, Allowance())
    places = [_Place(member, (), value, nowhere) for member, value in members.items()]
    # A tensor of one dimension makes no network, unless there is nothing else.
    for least_rank in (2, 0):
        search = Search()
        networks = (network for place in places for network in _walk(place, least_rank, search))
        if found := list(islice(networks, _MAX_NETWORKS)):
            break
    found = _with_online(found)
    order = {id(network): i for i, network in enumerate(found)}
    found.sort(key=lambda network: (*network.rank, -_elements(network), order[id(network)]))
    # Keys of different types may have one text; a path is what a network is chosen by.
    paths = distinct((network.path, network) for network in found)
    return tuple(network if network.path == path else replace(network, path=path) for path, network in paths.items())


def twins(networks: Sequence[Network]) -> tuple[str, ...]:
    """Return the paths of networks that are as likely as the first: nothing but a `key` decides.

    They have the same names and shapes and the same rank (two critics, two heads of an ensemble) and other tensors,
    or are those of other agents than the first. Empty where the first stands alone.
    """
    first = networks[0]
    if agents := _agents(networks):
        return agents
    own = {tensor.identity for tensor in first.tensors.values()}
    alike = [
        network.path
        for network in networks[1:]
        if network.rank == first.rank
        and _signature(network) == _signature(first)
        and {tensor.identity for tensor in network.tensors.values()} != own
    ]
    matrices = sum(len(tensor.shape) == 2 for tensor in first.tensors.values())
    # One layer that occurs twice is a part of something, not a network beside another.
    return (first.path, *alike) if alike and (matrices > 1 or is_network(first.tensors.values())) else ()


def _agents(networks: Sequence[Network]) -> tuple[str, ...]:
    """Return the path of a network of each agent, () where the first is of no group of agents.

    It is the one that is called as the first is in its own agent, else the likeliest.
    """
    pieces = networks[0].path.split("/")
    others = [network.path.split("/") for network in networks if network.role not in ("optimizer", "target")]
    for i, piece in enumerate(pieces):
        found: dict[str, list[list[str]]] = {}
        for other in others:
            if len(other) > i and other[:i] == pieces[:i] and _are_agents(pieces[i - 1] if i else "", piece, other[i]):
                found.setdefault(other[i], []).append(other)
        if len(found) > 1:
            same = ["/".join([*pieces[:i], name, *pieces[i + 1 :]]) for name in found]
            alike = (["/".join(path) for path in paths] for paths in found.values())
            return tuple(path if path in paths else paths[0] for path, paths in zip(same, alike, strict=True))
    return ()


def _are_agents(group: str, one: str, other: str) -> bool:
    """Whether two places of a group are those of agents: by the name of the group, or as they bear numbers."""
    said = {*words(group)}
    if _GROUPS & said or (_MEMBERS & said and one.isdigit() and other.isdigit()):
        return True
    return bool(_kin(one)) and _kin(one) == _kin(other)


def _kin(piece: str) -> str:
    """Return what an agent that bears a number is called, "" for what is none."""
    kind, number = words(piece)[:1], words(piece)[1:]
    return kind[0] if _MEMBERS & {*kind} and number and all(word.isdigit() for word in number) else ""


def _elements(network: Network) -> int:
    return sum(tensor.nbytes for tensor in network.tensors.values())


def _walk(root: _Place, least_rank: int, search: Search) -> Iterator[Network]:
    """Go through the nest breadth first: networks lie near the root, replay buffers are deep and wide."""
    queue, seen = deque([root]), {id(root.value)}
    while queue:
        place = queue.popleft()
        inside = held(place.value, least_rank, search)
        if inside is not None and inside.tensors:
            yield from _networks(place, inside)
        for below in () if inside is not None and inside.whole else _below(place):
            if id(below.value) not in seen and len(seen) < _MAX_CONTAINERS:
                seen.add(id(below.value))
                queue.append(below)


def _below(place: _Place) -> Iterator[_Place]:
    pairs = items(place.value)
    node = dict(pairs) if isinstance(place.value, dict | Opaque) and all(_hashable(key) for key, _ in pairs) else {}
    around = place.around.inside(node)
    for key, item in pairs:
        if item and isinstance(item, dict | list | tuple | Opaque):
            yield _Place(place.member, (*place.keys, key), item, around)


def _hashable(key: Any) -> bool:
    return isinstance(key, str | int | float | bytes | None)


def _networks(place: _Place, inside: Held) -> Iterator[Network]:
    tensors = as_torch(inside.tensors)
    if _is_optimizer(place, tensors):
        yield Network(place.path(""), "optimizer", tensors, place)
        return
    outer = role_of(" ".join(map(key_text, place.keys)))
    for part in split(tensors):
        role = part.role if part.role != "unknown" else outer
        yield Network(place.path(part.prefix), role, part.tensors, place, part.prefix, inside.unread)


def _is_optimizer(place: _Place, tensors: Mapping[str, LegacyTensor]) -> bool:
    # The key that every optimizer of torch writes.
    if isinstance(place.value, dict) and "param_groups" in place.value:
        return True
    leaves = {name.rsplit(".", 1)[-1] for name in tensors}
    return bool(leaves & OPTIMIZER_STATE)


def _with_online(found: list[Network]) -> list[Network]:
    """The one network that a target copy has the names and shapes of is the online one."""
    targets = {_signature(network) for network in found if network.role == "target"}
    alone: dict[object, list[Network]] = {}
    for network in found:
        if network.role in ("unknown", "online") and (signature := _signature(network)) in targets:
            alone.setdefault(signature, []).append(network)
    # Of several that a target may be the copy of nothing tells which.
    online = {id(networks[0]) for networks in alone.values() if len(networks) == 1}
    return [replace(network, role="online") if id(network) in online else network for network in found]


def _signature(network: Network) -> frozenset[tuple[str, tuple[int, ...]]]:
    return frozenset((name, tensor.shape) for name, tensor in network.tensors.items())
