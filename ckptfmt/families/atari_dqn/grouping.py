"""Which tensors make one layer: by names that agree with the shapes, else by their order."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ckptfmt.families.atari_dqn.fingerprint import Shape
from ckptfmt.families.names import parse

__all__ = ["Group", "by_names", "by_order", "natural"]

_NUMBER = re.compile(r"\d+")


@dataclass(slots=True)
class Group:
    """The tensors of one layer. Sigmas are "" in plain layers; `noise` are its noise buffers."""

    stem: tuple[str, ...]
    weight: str = ""
    bias: str = ""
    weight_sigma: str = ""
    bias_sigma: str = ""
    noise: list[str] = field(default_factory=list)
    position: int = 0

    @property
    def noisy(self) -> bool:
        """Whether the layer has sigmas."""
        return bool(self.weight_sigma)


def natural(name: str) -> list[tuple[int, int | str]]:
    """Return a sort key in which `conv.10` comes after `conv.2`."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdecimal() and part.isascii() else (1, part) for part in parts if part]


def by_names(shapes: Mapping[str, Shape]) -> list[Group] | None:
    """Return the layers that the names describe, or None where names and shapes do not agree.

    They agree when every layer has one weight, one bias of as many rows, either both sigmas or none, and what
    else it has are noise buffers of its own sizes.
    """
    members: dict[tuple[str, ...], list[str]] = {}
    loose: list[str] = []
    for name in shapes:
        taken = parse(name)
        if taken.kind == "noise" or taken.part is None:
            loose.append(name)
        else:
            members.setdefault(taken.stem, []).append(name)
    for name in loose:
        home = _home(parse(name).stem, members)
        if home is None:
            return None
        members[home].append(name)
    order = {name: i for i, name in enumerate(shapes)}
    groups = [_group(stem, names, shapes) for stem, names in members.items()]
    if any(group is None for group in groups):
        return None
    found = [group for group in groups if group is not None]
    for group in found:
        group.position = order[group.weight]
    return found


def _home(stem: tuple[str, ...], members: Mapping[tuple[str, ...], list[str]]) -> tuple[str, ...] | None:
    """Return the longest stem of a layer that the words of a noise buffer's name begin with."""
    for size in range(len(stem), -1, -1):
        if stem[:size] in members:
            return stem[:size]
    return None


def _group(stem: tuple[str, ...], names: Sequence[str], shapes: Mapping[str, Shape]) -> Group | None:
    parts: dict[tuple[str | None, str | None], list[str]] = {}
    for name in names:
        taken = parse(name)
        parts.setdefault((taken.part, taken.kind), []).append(name)
    group = Group(stem)
    group.weight = _take(parts, "weight", "mean") or _take(parts, "weight", None)
    group.bias = _take(parts, "bias", "mean") or _take(parts, "bias", None)
    group.weight_sigma = _take(parts, "weight", "sigma")
    group.bias_sigma = _take(parts, "bias", "sigma")
    if group.weight and group.bias and not group.weight_sigma and not group.bias_sigma:
        _noise_as_sigma(group, parts, shapes)
    group.noise = [name for rest in parts.values() for name in rest]
    return group if _agrees(group, shapes) else None


def _take(parts: dict[tuple[str | None, str | None], list[str]], part: str, kind: str | None) -> str:
    found = parts.get((part, kind), [])
    return parts.pop((part, kind))[0] if len(found) == 1 else ""


def _noise_as_sigma(
    group: Group, parts: dict[tuple[str | None, str | None], list[str]], shapes: Mapping[str, Shape]
) -> None:
    """Some call the sigma `noise_weight`: it is one when it is all that could be."""
    if set(parts) == {("weight", "noise"), ("bias", "noise")} and all(len(names) == 1 for names in parts.values()):
        weight, bias = parts["weight", "noise"][0], parts["bias", "noise"][0]
        if shapes[weight] == shapes[group.weight] and shapes[bias] == shapes[group.bias]:
            group.weight_sigma, group.bias_sigma = weight, bias
            parts.clear()


def _agrees(group: Group, shapes: Mapping[str, Shape]) -> bool:
    if not group.weight or not group.bias or bool(group.weight_sigma) != bool(group.bias_sigma):
        return False
    weight, bias = shapes[group.weight], shapes[group.bias]
    # Linear layers and convolutions; both have a bias for each output.
    if len(weight) not in (2, 4) or bias != weight[:1]:
        return False
    if group.noisy and (shapes[group.weight_sigma] != weight or shapes[group.bias_sigma] != bias):
        return False
    return not group.noise or (group.noisy and all(set(shapes[name]) <= {*weight, 1} for name in group.noise))


def by_order(shapes: Mapping[str, Shape]) -> list[Group] | None:
    """Return plain layers where each weight is followed by its bias, in the file's order or by number.

    None where neither order shows layers, or the two orders show different ones.
    """
    orders = [list(shapes)]
    if _numbered(orders[0]):
        orders.append(sorted(shapes, key=natural))
    found = [groups for order in orders if (groups := _walk(order, shapes)) is not None]
    if not found or any(_pairs(groups) != _pairs(found[0]) for groups in found):
        return None
    return found[0]


def _numbered(names: Sequence[str]) -> bool:
    return len({_NUMBER.sub("", name) for name in names}) == 1


def _pairs(groups: Sequence[Group]) -> list[tuple[str, str]]:
    return [(group.weight, group.bias) for group in groups]


def _walk(order: Sequence[str], shapes: Mapping[str, Shape]) -> list[Group] | None:
    if len(order) % 2:
        return None
    groups = []
    # torch lists the weight of a layer and then its bias.
    for position in range(0, len(order), 2):
        weight, bias = order[position : position + 2]
        if len(shapes[weight]) not in (2, 4) or shapes[bias] != shapes[weight][:1]:
            return None
        groups.append(Group((), weight, bias, position=position))
    return groups
