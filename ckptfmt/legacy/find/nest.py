"""The containers of a foreign object: what lies in each, and which of them hold the tensors of a network."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find import modules
from ckptfmt.legacy.find.copies import is_network, role_of
from ckptfmt.legacy.find.keys import Keys, distinct, joined, key_text
from ckptfmt.legacy.find.unread import kind_of
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["OPTIMIZER_STATE", "Held", "Search", "held", "items"]

OPTIMIZER_STATE = frozenset({"exp_avg", "exp_avg_sq", "square_avg", "momentum_buffer", "grad_avg", "max_exp_avg_sq"})
# More tensors than this in one container are a network, fewer may be a layer of one.
_LAYER = 8
# Nests of layers are shallow and small; what is larger is no network, whoever wrote it.
_NEST_DEPTH, _NEST_SIZE = 6, 4096
# Some seconds of looking, whatever the nest.
_MAX_VISITS = 2_000_000
# Where a TensorDict keeps its tensors, and a module of parameters its TensorDict.
_TENSORDICT, _PARAMETERS = "_tensordict", "_param_td"


@record
class Held:
    """The tensors of a container by name, and the kinds of those that are not read.

    `whole` says that nothing else is to be looked for inside.
    """

    tensors: dict[str, LegacyTensor]
    unread: dict[str, str] = field(default_factory=dict)
    whole: bool = False


class Search:
    """What looking for nests of layers in one source may cost; each may be looked through from many places."""

    def __init__(self) -> None:
        self._visits = _MAX_VISITS

    def visit(self, count: int) -> bool:
        """Say whether so many more containers may be looked at."""
        self._visits -= count
        return self._visits >= 0


def held(value: Any, least_rank: int = 2, search: Search | None = None) -> Held | None:
    """Return what a container holds if it may be a network: a tensor of at least `least_rank` dimensions."""
    value = _opened(value)
    if isinstance(value, LegacyTensor):
        return Held({"tensor": value}, whole=True)
    if modules.is_module(value):
        return Held(modules.tensors(value), whole=True)
    if isinstance(value, dict) and "param_groups" in value:
        return Held(_flatten(value), whole=True)
    if (nested := _nest(value, search or Search())) is not None:
        return Held(nested, whole=True)
    pairs = items(value)
    direct = distinct((key_text(key), item) for key, item in pairs if isinstance(item, LegacyTensor))
    if any(len(tensor.shape) >= least_rank for tensor in direct.values()):
        unread = distinct((key_text(key), kind) for key, item in pairs if (kind := kind_of(item)))
        return Held(direct, unread)
    return None


def items(value: Any) -> list[tuple[Any, Any]]:
    """Return the (key, value) pairs of a dict, of a list of named tensors, or of any list by position."""
    value = _opened(value)
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        if value and all(_is_named(item) for item in value):
            return [(item[0], item[1]) for item in value]
        return list(enumerate(value))
    if isinstance(value, Opaque) and not kind_of(value):
        return _contents(value)
    return []


def _opened(value: Any) -> Any:
    """Return the dict inside a TensorDict, which is a nest of them; any other value as it is."""
    if isinstance(value, Opaque):
        for state in (value.state, *value.args):
            if isinstance(state, dict) and isinstance(state.get(_TENSORDICT), dict):
                return state[_TENSORDICT]
        if isinstance(value.state, dict) and isinstance(value.state.get(_PARAMETERS), Opaque):
            return _opened(value.state[_PARAMETERS])
    return value


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
    found: list[tuple[Any, Any]] = []
    for i, state in enumerate(states):
        found += state.items() if isinstance(state, dict) else [(i, state)] if state is not None else []
    return [*found, *value.pairs, *enumerate(value.items), *enumerate(value.args)]


def _nest(value: Any, search: Search) -> dict[str, LegacyTensor] | None:
    """Return the tensors of a nest of layers, `{"conv": {"0": {"weight": …}}}`, under dotted names."""
    # One layer alone is no nest: what is around it is looked at by others.
    if not isinstance(value, dict | list | tuple) or len(value) < 2:
        return None
    found: list[tuple[str, LegacyTensor]] = []
    stack: list[tuple[Keys | None, int, Any]] = [(None, 0, value)]
    leaves = 0
    while stack:
        keys, depth, node = stack.pop()
        if not search.visit(1 + min(len(node), _NEST_SIZE)):
            return None
        direct, inner = _layer(node)
        if direct is None or depth > _NEST_DEPTH or len(stack) + len(inner) + len(found) > _NEST_SIZE:
            return None
        leaves += bool(direct)
        found += [(joined((keys, key), "."), item) for key, item in direct]
        stack += [((keys, key), depth + 1, item) for key, item in reversed(inner)]
    return distinct(found) if leaves > 1 and any(len(tensor.shape) > 1 for _, tensor in found) else None


def _layer(node: Any) -> tuple[list[tuple[Any, LegacyTensor]] | None, list[tuple[Any, Any]]]:
    """Return the tensors of one layer and the containers beside them; None for what is no layer of a nest."""
    if len(node) > _NEST_SIZE:
        return None, []
    pairs = [(key, _opened(item)) for key, item in items(node)]
    direct = [(key, item) for key, item in pairs if isinstance(item, LegacyTensor)]
    inner = [(key, item) for key, item in pairs if isinstance(item, dict | list | tuple) and item]
    keys = [key_text(key) for key, _ in pairs]
    foreign = len(direct) + len(inner) < len(pairs) or any(map(_is_optimizers, keys))
    if foreign or len(direct) > _LAYER or is_network(item for _, item in direct):
        return None, []
    return direct, inner


def _is_optimizers(key: str) -> bool:
    """Whether what lies there is the state of an optimizer, however few tensors it has."""
    return key in OPTIMIZER_STATE or role_of(key) == "optimizer"


def _flatten(value: Any) -> dict[str, LegacyTensor]:
    found: list[tuple[str, LegacyTensor]] = []
    stack: list[tuple[Keys | None, Any]] = [(None, value)]
    while stack:
        keys, node = stack.pop()
        for key, item in reversed(items(node)):
            if isinstance(item, LegacyTensor):
                found.append((joined((keys, key), "/"), item))
            else:
                stack.append(((keys, key), item))
    return distinct(found)
