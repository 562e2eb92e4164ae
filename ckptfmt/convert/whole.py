"""All networks of a file as one: an actor, its critics and their targets belong together, wherever each lay."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from ckptfmt.families.evidence import Window, Wiring
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.find import Network

__all__ = ["Whole", "whole_of"]

# A file of more networks than this is a collection of agents.
_MOST = 12


@record(slots=False)
class Whole(Network):
    """Networks taken as one, with what lay around each; the nearest facts are those of the first."""

    parts: Mapping[str, Network] | None = None

    @cached_property
    def wiring(self) -> Wiring:
        """What whole modules say of their layers, by the names that these have here."""
        windows: dict[str, Window] = {}
        found = {prefix: network.wiring for prefix, network in (self.parts or {}).items()}
        for prefix, item in found.items():
            windows |= {prefix + name: window for name, window in item.windows.items()}
        activations = {item.activation for item in found.values()}
        return Wiring(
            windows=windows,
            activation=activations.pop() if len(activations) == 1 else "",
            activation_origin=max(
                (item.activation_origin for item in found.values()), key=lambda origin: origin == "assumed"
            ),
            squash=next((item.squash for item in found.values() if item.squash), ""),
            softmax=any(item.softmax for item in found.values()),
            stranger=next((item.stranger for item in found.values() if item.stranger), ""),
        )

    @cached_property
    def context(self) -> tuple[str, ...]:
        """Texts around all of them."""
        return tuple(dict.fromkeys(text for network in (self.parts or {}).values() for text in network.context))


def whole_of(found: Sequence[Network]) -> Network | None:
    """Return the networks of a file as one, each name behind the path of its network; None where there is but one.

    Recordings and the states of optimizers belong to none. What cannot be stored stays a reason not to claim it.
    """
    parts = [network for network in found if network.role != "optimizer" and not network.is_recorded]
    if not 1 < len(parts) <= _MOST:
        return None
    members = {network.path.rpartition(" : ")[0] for network in parts}
    named = {_prefix(network, members): network for network in parts}
    tensors: dict[str, LegacyTensor] = {}
    for prefix, network in named.items():
        tensors |= {prefix + name: tensor for name, tensor in network.tensors.items()}
    # Two networks at one place have names in common: one would hide tensors of the other.
    if len(tensors) != sum(len(network.tensors) for network in parts):
        return None
    unread = {name: kind for network in parts for name, kind in network.unread.items()}
    first = parts[0]
    path = members.pop() if len(members) == 1 else ""
    return Whole(path, first.role, tensors, first.place, first.prefix, unread, named)


def _prefix(network: Network, members: set[str]) -> str:
    path = network.path.rpartition(" : ")[2] if len(members) == 1 else network.path
    return path if not path or path.endswith(".") else f"{path}/"
