"""Which tensor of a file is which tensor of the canonical network.

Tensors of the same shape are told apart by names that agree with the shapes, by a network order, or by the
data of a known layout; where none of these decides, `Unplaced` says what nothing shows.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ckptfmt.families.answer import Placement
from ckptfmt.families.atari_dqn.fingerprint import Shape
from ckptfmt.families.atari_dqn.grouping import Group, by_names, by_order, natural
from ckptfmt.families.atari_dqn.layouts import Layout
from ckptfmt.families.atari_dqn.topology import Fit, Topology
from ckptfmt.families.names import kin, stream
from ckptfmt.format.record import record

__all__ = ["Assignment", "Unplaced", "assign", "placements"]


class Unplaced(Exception):
    """Tensors of equal shape cannot be told apart; the text says which."""


@record
class Assignment:
    """The layers in their roles: convolutions in order, hidden layers and heads by role of the topology."""

    convs: tuple[Group, ...]
    roles: Mapping[str, Group]


def assign(fit: Fit, shapes: Mapping[str, Shape], support: str) -> Assignment:
    """Return which layer plays which role; raise `Unplaced` where that cannot be told."""
    rest = {name: shape for name, shape in shapes.items() if name != support}
    # Names first, then the order in which torch lists layers, then shapes alone: from the surest witness to the
    # least.
    groups, named = by_names(rest), True
    if groups is None or not _describes(groups, fit, rest):
        groups, named = (None if fit.topology.noisy else by_order(rest)), False
    if groups is None or not _describes(groups, fit, rest):
        groups, named = _by_shape(fit, rest), True
    # Kernels of convolutions have 4 dimensions, matrices of linear layers 2.
    convs = _order_convs([group for group in groups if len(rest[group.weight]) == 4], rest, named)
    linear = [group for group in groups if len(rest[group.weight]) == 2]
    return Assignment(convs, _roles(fit.topology, linear, rest, named))


def _describes(groups: Sequence[Group], fit: Fit, shapes: Mapping[str, Shape]) -> bool:
    """Whether the layers are those of the topology, noisy ones and plain ones in their places."""
    found = sorted((shapes[group.weight], group.noisy) for group in groups)
    topology = fit.topology
    wanted = [(shape, False) for shape in topology.convs]
    wanted += [(layer.shape, topology.noisy) for layer in topology.layers]
    return found == sorted(wanted)


def _by_shape(fit: Fit, shapes: Mapping[str, Shape]) -> list[Group]:
    """Without names or order: possible where each shape occurs once."""
    owners: dict[Shape, list[str]] = {}
    for name, shape in shapes.items():
        owners.setdefault(shape, []).append(name)
    if twice := [names for names in owners.values() if len(names) > 1]:
        names = max(twice, key=lambda names: len(shapes[names[0]]))
        raise Unplaced(
            f"{_some(names)} all have the shape {shapes[names[0]]}, and nothing shows which layer each one is"
        )
    weights = [shape for shape in fit.topology.required if len(shape) > 1]
    return [Group((), owners[shape][0], owners[shape[:1]][0]) for shape in weights]


def _some(names: Sequence[str]) -> str:
    # Three names fit a sentence.
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def _order_convs(convs: list[Group], shapes: Mapping[str, Shape], named: bool) -> tuple[Group, ...]:
    if chain := _only_chain(convs, shapes):
        return chain
    ordered = _in_order(convs, shapes) if named else sorted(convs, key=lambda group: group.position)
    if not ordered or not _is_chain(ordered, shapes):
        raise Unplaced(f"nothing shows the order of the convolutions {_some([group.weight for group in convs])}")
    return tuple(ordered)


def _in_order(convs: Sequence[Group], shapes: Mapping[str, Shape]) -> list[Group]:
    """Return layers in the order of their numbers, or in that of file and words if the two agree; [] if not."""
    by_name = sorted(convs, key=lambda group: natural(group.weight))
    if len({tuple(word for word in group.stem if not word.isdigit()) for group in convs}) == 1:
        return by_name
    names = list(shapes)
    by_file = sorted(convs, key=lambda group: names.index(group.weight))
    # Some writers sort all names; their order says nothing then.
    return by_name if by_name == by_file and names != sorted(names) else []


def _is_chain(groups: Sequence[Group], shapes: Mapping[str, Shape]) -> bool:
    return all(shapes[after.weight][1] == shapes[before.weight][0] for before, after in pairwise(groups))


def _only_chain(convs: Sequence[Group], shapes: Mapping[str, Shape]) -> tuple[Group, ...] | None:
    paths = [[group] for group in convs]
    for _ in convs[1:]:
        paths = [
            [*path, group]
            for path in paths
            for group in convs
            if group not in path and shapes[group.weight][1] == shapes[path[-1].weight][0]
        ]
    return tuple(paths[0]) if len(paths) == 1 else None


def _roles(topology: Topology, linear: list[Group], shapes: Mapping[str, Shape], named: bool) -> dict[str, Group]:
    width = topology.layers[0].shape
    hidden = [group for group in linear if shapes[group.weight] == width]
    heads = sorted((group for group in linear if group not in hidden), key=lambda group: shapes[group.weight][0])
    if topology.streams == "single":
        return {"hidden": hidden[0], "head": heads[0]}
    value, advantage = _heads(topology, heads)
    ends = {"value_head": value, "advantage_head": advantage}
    if topology.streams != "separate":
        return {"hidden": hidden[0], **ends}
    first, second = _pair(hidden, value, advantage, named)
    return {"value_hidden": first, "advantage_hidden": second, **ends}


def _heads(topology: Topology, heads: list[Group]) -> tuple[Group, Group]:
    first, second = heads
    spoken = stream(first.stem), stream(second.stem)
    if spoken == ("advantage", "value"):
        first, second = second, first
    if topology.heads[0] != topology.heads[1]:
        if (first, second) != tuple(heads):
            raise Unplaced(f"{heads[0].weight} has fewer rows, as a value head has, and is named as an advantage head")
        return first, second
    if {*spoken} != {"value", "advantage"}:
        raise Unplaced(f"nothing shows which of {first.weight} and {second.weight} is the value head")
    return first, second


def _pair(hidden: Sequence[Group], value: Group, advantage: Group, named: bool) -> tuple[Group, Group]:
    """Return the hidden layers in front of the value head and of the advantage head."""
    one, two = hidden
    own = [kin(one.stem) - kin(two.stem), kin(two.stem) - kin(one.stem)]
    ends = [kin(value.stem) - kin(advantage.stem), kin(advantage.stem) - kin(value.stem)]
    straight = bool(own[0] & ends[0]) or bool(own[1] & ends[1])
    crossed = bool(own[0] & ends[1]) or bool(own[1] & ends[0])
    if straight != crossed:
        return (one, two) if straight else (two, one)
    paired = _in_turn([one, two], [value, advantage], named)
    if paired is None:
        raise Unplaced(f"nothing shows which of {one.weight} and {two.weight} is in front of {value.weight}")
    return paired


def _in_turn(hidden: Sequence[Group], heads: Sequence[Group], named: bool) -> tuple[Group, Group] | None:
    """Layers in a network's order: each head follows its own hidden layer."""
    layers = [*hidden, *heads]
    if named and len({tuple(word for word in layer.stem if not word.isdigit()) for layer in layers}) != 1:
        return None
    layers.sort(key=(lambda layer: natural(layer.weight)) if named else (lambda layer: [(0, layer.position)]))
    if [layer in heads for layer in layers] != [False, True, False, True]:
        return None
    # Hidden, head, hidden, head: each head has the layer before it.
    before = {id(layers[1]): layers[0], id(layers[3]): layers[2]}
    return before[id(heads[0])], before[id(heads[1])]


def placements(
    fit: Fit, found: Assignment, shapes: Mapping[str, Shape], support: str, layout: Layout | None
) -> tuple[tuple[Placement, ...], tuple[str, ...]]:
    """Return where each tensor goes, and which are dropped (noise buffers that cannot be told or are no factors)."""
    placed = [
        Placement(f"conv.{2 * i}.{part}", name)
        for i, group in enumerate(found.convs)
        for part, name in (("weight", group.weight), ("bias", group.bias))
    ]
    factors = _factors(list(found.roles.values()), shapes) if fit.topology.noisy else {}
    for target, group, rows in _targets(fit.topology, found.roles, layout):
        placed += _layer(target, group, rows)
        placed += _noise(target, factors.get(group.weight), rows, shapes)
    if support:
        placed.append(Placement("support", support, squeeze=len(shapes[support]) > 1))
    used = {placement.source for placement in placed}
    return tuple(placed), tuple(name for name in shapes if name not in used)


def _targets(
    topology: Topology, roles: Mapping[str, Group], layout: Layout | None
) -> list[tuple[str, Group, tuple[int, int] | None]]:
    if topology.streams == "single":
        return [("fc.0", roles["hidden"], None), ("fc.2", roles["head"], None)]
    ends: list[tuple[str, Group, tuple[int, int] | None]] = [
        ("value_stream.2", roles["value_head"], None),
        ("advantage_stream.2", roles["advantage_head"], None),
    ]
    if topology.streams == "separate":
        return [
            ("value_stream.0", roles["value_hidden"], None),
            ("advantage_stream.0", roles["advantage_hidden"], None),
            *ends,
        ]
    if topology.streams == "shared":
        return [("value_stream.0", roles["hidden"], None), ("advantage_stream.0", roles["hidden"], None), *ends]
    if layout is None or not layout.first_half:
        raise Unplaced(f"nothing shows which half of {roles['hidden'].weight} belongs to the value stream")
    size = topology.hidden
    halves = ((0, size), (size, 2 * size))
    value, advantage = halves if layout.first_half == "value" else halves[::-1]
    return [("value_stream.0", roles["hidden"], value), ("advantage_stream.0", roles["hidden"], advantage), *ends]


def _layer(target: str, group: Group, rows: tuple[int, int] | None) -> list[Placement]:
    if not group.noisy:
        return [Placement(f"{target}.weight", group.weight, rows), Placement(f"{target}.bias", group.bias, rows)]
    parts = (
        ("weight_mu", group.weight),
        ("weight_sigma", group.weight_sigma),
        ("bias_mu", group.bias),
        ("bias_sigma", group.bias_sigma),
    )
    return [Placement(f"{target}.{part}", name, rows) for part, name in parts]


def _noise(
    target: str, factors: tuple[str, str] | None, rows: tuple[int, int] | None, shapes: Mapping[str, Shape]
) -> list[Placement]:
    if factors is None:
        return []
    inputs, outputs = factors
    return [
        Placement(f"{target}.epsilon_input", inputs, None, len(shapes[inputs]) > 1),
        Placement(f"{target}.epsilon_output", outputs, rows, len(shapes[outputs]) > 1),
    ]


def _factors(layers: Sequence[Group], shapes: Mapping[str, Shape]) -> dict[str, tuple[str, str]]:
    """Return the noise factors (in, out) of each layer by its weight; none unless all layers show theirs."""
    found = {}
    for layer in layers:
        rows, columns = shapes[layer.weight]
        inputs = [name for name in layer.noise if _length(shapes[name]) == columns]
        outputs = [name for name in layer.noise if _length(shapes[name]) == rows]
        if rows == columns or len(inputs) != 1 or len(outputs) != 1:
            return {}
        found[layer.weight] = inputs[0], outputs[0]
    return found


def _length(shape: Shape) -> int:
    long = [size for size in shape if size != 1]
    return long[0] if len(long) == 1 else 1 if not long else 0
