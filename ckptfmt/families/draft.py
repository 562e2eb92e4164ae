"""A draft of a network: what is read of a skeleton field by field, until a family claims it with all its tensors.

Each field comes with its origin. What weights cannot show is what the file declares, else what is likely.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from ckptfmt.errors import ConfigError
from ckptfmt.families.answer import Candidate, Placement
from ckptfmt.families.atari_dqn import trunk
from ckptfmt.families.blocks import Block, Cell, Convs, Mlp, Residual
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.encoder import Conv
from ckptfmt.families.evidence import Origin
from ckptfmt.families.habits import habit_of
from ckptfmt.families.joints import joints
from ckptfmt.families.names import words
from ckptfmt.families.network import NetworkConfig
from ckptfmt.families.outline import Outline, Unit
from ckptfmt.families.registry import Family
from ckptfmt.families.screens import halved, plain, screen, stages
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.statistics import assigned
from ckptfmt.format.document import fields_of

__all__ = ["Draft", "Unfit"]

Shape = tuple[int, ...]

# More features than this are hardly an observation.
_MOST_FEATURES = 1024
# Fields that say that something is not there, where nothing of it is.
_SHOWN = frozenset(
    {
        "trunk",
        "policy_trunk",
        "value_trunk",
        "advantage_trunk",
        "critic_trunk",
        "dueling",
        "deviation",
        "saved_scale",
        "target",
    }
)

# What skrl calls the modules through which its agents lead what they see, before their networks.
_BEFORE = frozenset({"preprocessor"})


class Unfit(Exception):
    """What is read is none of the family; the text says why, `options` name the facts that would decide.

    Without a text it is nobody's business: the family is one that is only ever given.
    """

    def __init__(self, why: str, *options: str) -> None:
        super().__init__(why)
        self.options = options


@dataclass
class Draft:
    """What is read so far: fields of the config, where each comes from, and what each tensor becomes."""

    seen: Skeleton
    outline: Outline
    fields: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Origin] = field(default_factory=dict)
    placements: list[Placement] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    copies: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)

    def said(self, name: str) -> Any:
        """Return what a person or the file says of a field, None where nobody does."""
        return self.seen.facts.field(name)

    def infer(self, **found: Any) -> None:
        """Set fields that follow from the tensors."""
        self.fields |= found
        self.origin |= dict.fromkeys(found, "inferred")

    def take(self, **likely: Any) -> None:
        """Set fields that weights do not show: what is said of them, else what these names usually mean, else these."""
        usual = habit_of(self.seen.shapes).fields
        for name, default in likely.items():
            said = self.said(name)
            known = said is not None
            if name == "input_scale" and len(self.fields.get("observation", ())) == 1:
                # What a code base divides pixels by, it does not divide features by.
                usual = {**usual, name: default}
            wiring = self.seen.wiring
            if not known and name == "activation" and wiring.activation:
                self.fields[name], self.origin[name] = wiring.activation, wiring.activation_origin
                continue
            if not known and name == "squash" and wiring.squash:
                self.infer(squash=wiring.squash)
                continue
            self.fields[name] = said if known else usual.get(name, default)
            self.origin[name] = self.seen.facts.origin(name) if known else "assumed"

    def body(
        self,
        name: str,
        prefix: str,
        units: Sequence[Unit],
        after: int,
        *,
        last: str | None = None,
        behind: Sequence[Unit] = (),
    ) -> None:
        """Set the field of a body from layers in a row, behind which `after` features are taken.

        `last` is the activation behind the last layer where it is another than behind the others; `behind` are layers
        outside of the body that take what it gives.
        """
        blocks: list[Block] = []
        habit = habit_of(self.seen.shapes)
        alone = {unit.name for unit in units if habit.is_bare(".".join(unit.path))}
        for (kind, bare), run in groupby(units, lambda unit: (unit.kind, unit.name in alone)):
            row = list(run)
            following = units[units.index(row[-1]) + 1 :]
            features = following[0].inputs if following else after
            place = f"{prefix}.{len(blocks)}"
            if kind == "conv":
                blocks.append(self._convolutions(place, row, features))
            elif kind == "cell":
                for i, unit in enumerate(row):
                    blocks.append(self._cell(f"{prefix}.{len(blocks) + i}", unit))
            elif bare:
                blocks.append(self._mlp(place, row, activation="none"))
            elif last is not None and not following and len(row) > 1:
                blocks.append(self._mlp(place, row[:-1]))
                blocks.append(self._mlp(f"{prefix}.{len(blocks)}", row[-1:], activation=last))
            else:
                blocks.append(self._mlp(place, row, activation=None if following else last))
        self.infer(**{name: tuple(blocks)})
        unseen = any(isinstance(block, Residual | Convs) for block in blocks) and not self.seen.wiring.windows
        # Numbers in a row of modules show that a norm comes before the activation, other names do not.
        named = any(unit.norm is not None and not unit.norm.path[-1].isdigit() for unit in units)
        if unseen or alone or named or any(joints((*units, *behind))):
            # Strides, paddings and pooling have no weights, and nor has a place where nothing follows, or may not.
            self.origin[name] = "assumed"

    def observe(self, unit: Unit) -> None:
        """Say that a network sees what its first layer takes; convolutions have said so of themselves."""
        if unit.inputs > _MOST_FEATURES:
            raise Unfit(f"{unit.inputs} features come from a trunk that is not in the file")
        if unit.kind != "conv":
            self._seen((unit.inputs,), "inferred")

    def head(self, name: str, unit: Unit, rows: tuple[int, int] | None = None) -> None:
        """Say that a layer, or some rows of it, is a head of the network."""
        parts = _NOISY if unit.kind == "noisy" else ("weight", "bias")
        if unit.norm is not None:
            raise Unfit(f"{unit.name} is a head with a normalisation behind it")
        self.placements += [Placement(f"{name}.{part}", unit.parts[part], rows) for part in parts]

    def vector(self, name: str, unit: Unit, size: Shape) -> None:
        """Say that a free tensor is one of the network's, whatever dimensions of one it has."""
        (source,) = unit.parts.values()
        shape = self.seen.shapes[source]
        if shape != size and tuple(n for n in shape if n != 1) != tuple(n for n in size if n != 1):
            raise Unfit(f"{source} is no tensor of {size}")
        self.placements.append(Placement(name, source, squeeze=shape != size))

    def drop(self, names: Sequence[str], why: str) -> None:
        """Say that tensors are not taken, and why."""
        self.dropped |= dict.fromkeys(names, why)

    def propose(
        self, family: Family, *, what: str, sees: str, witnesses: Sequence[Witness], assumes: str = ""
    ) -> Proposal:
        """Return the claim; raise `Unfit` where the config is none, or a tensor of the file has no place in it."""
        self.drop(self.outline.noise, "noise and counters, which are made anew")
        self._normalise(family)
        placed = {placement.source for placement in self.placements} | self.dropped.keys()
        if left := next((name for name in self.seen.shapes if name not in placed), ""):
            raise Unfit(f"{left} has no place in it")
        assert issubclass(family.config, NetworkConfig)
        if self.seen.wiring.squash and "squash" not in self.fields:
            raise Unfit(f"its module has the activation {self.seen.wiring.squash} behind its head")
        self.origin |= dict.fromkeys(_SHOWN & fields_of(family.config).keys() - self.origin.keys(), "inferred")
        try:
            config = family.config.from_dict(self.fields)
        except ConfigError as e:
            raise Unfit(e.what) from None
        name = family.network_name(config)
        said = self._given(family, name)
        candidate = Candidate(
            name=name,
            config=config,
            origin=self.origin,
            placements=tuple(self.placements),
            dropped=tuple(f"{source} ({why})" for source, why in self.dropped.items() if source not in self.copies),
            copies=tuple(source for source in self.dropped if source in self.copies),
            reasons=(sees,),
            against=tuple(self.notes),
            layout=habit_of(self.seen.shapes).name,
            witnesses=(*said, *witnesses),
            assumes=assumes,
        )
        return Proposal(
            family=family.name, name=name, what=what, sees=sees, witnesses=candidate.witnesses, assumes=assumes,
            candidate=candidate,
        )  # fmt: skip

    def _normalise(self, family: Family) -> None:
        """Read running statistics of what is seen, and those of returns; a file without any says nothing of them."""
        seen, rows = self.fields.get("observation", ()), [row.units[0].name for row in self.outline.rows]
        for name, item in assigned(self.outline.statistics, fields_of(family.config), rows):
            shape = (1,) if name == "value_normalizer" else () if name == "beside" else seen
            if shape != (item.size,) or name in self.fields:
                raise Unfit(f"{item.mean} is a running mean of nothing that is known")
            self.infer(**{name: "own" if name == "value_sees" else item.kind})
            for part, source in (("mean", item.mean), ("spread", item.spread)):
                squeeze = self.seen.shapes[source] != shape
                self.placements.append(Placement(f"{name}.{part}", source, squeeze=squeeze and item.size > 1))
            self.drop(item.extra, "what follows from running statistics, or counts for them")
            if _BEFORE & {*words(item.path)}:
                self.infer(normalizer_place="before")
        if self.outline.statistics:
            # That of torch's own layers that normalise, which most took over; code bases with another one have a habit.
            self.take(normalizer_epsilon=1e-5, normalizer_range=None)

    def _given(self, family: Family, name: str) -> tuple[Witness, ...]:
        said = self.seen.facts.architecture
        if said in (name, f"{family.name}/{name}"):
            return (Witness("given", "architecture= says so"),)
        if said is not None:
            raise Unfit("it is said to be of another family")
        return ()

    def _seen(self, shape: Shape, origin: Origin) -> None:
        if self.fields.get("observation", shape) != shape:
            raise Unfit("its parts take different observations")
        self.fields["observation"], self.origin["observation"] = shape, origin

    def _mlp(self, place: str, row: Sequence[Unit], activation: str | None = None) -> Mlp:
        norms = {unit.norm.kind if unit.norm else "" for unit in row}
        if len(norms) > 1 or len({unit.kind for unit in row}) > 1:
            raise Unfit("its layers are not all of one kind")
        noisy = row[0].kind == "noisy"
        for i, unit in enumerate(row):
            self._layer(f"{place}.linear.{i}", unit)
            self._norm(f"{place}.norm.{i}", unit)
        norm = {"norm": "layer", "batch norm": "batch"}.get(norms.pop(), "none")
        return Mlp(sizes=tuple(unit.outputs for unit in row), norm=norm, noisy=noisy, activation=activation)

    def _layer(self, name: str, unit: Unit) -> None:
        parts = _NOISY if unit.kind == "noisy" else ("weight", "bias")
        self.placements += [Placement(f"{name}.{part}", unit.parts[part]) for part in parts]

    def _norm(self, name: str, unit: Unit) -> None:
        if unit.norm is not None:
            self.placements += [Placement(f"{name}.{part}", source) for part, source in unit.norm.parts.items()]

    def _cell(self, place: str, unit: Unit) -> Cell:
        for part, source in unit.parts.items():
            self.placements.append(Placement(f"{place}.cell.{part}", source))
        return Cell(cell=unit.cell, size=unit.outputs, layers=unit.layers)

    def _convolutions(self, place: str, row: Sequence[Unit], features: int) -> Block:
        if channels := stages(row):
            return self._residual(place, row, channels, features)
        for i, unit in enumerate(row):
            self._layer(f"{place}.conv.{i}", unit)
            self._norm(f"{place}.norm.{i}", unit)
        norms = {unit.norm.kind if unit.norm else "" for unit in row}
        if len(norms) > 1 or "norm" in norms:
            # Behind a convolution it may be one over any groups of channels.
            raise Unfit("how its convolutions are normalised cannot be told")
        convs = self._windows(row, features)
        return Convs(convs=convs, norm="batch" if "batch norm" in norms else "none")

    def _windows(self, row: Sequence[Unit], features: int) -> tuple[Conv, ...]:
        facts, wiring = self.seen.facts, self.seen.wiring
        shape = facts.input_shape
        windows = [wiring.windows.get(unit.parts["weight"]) for unit in row]
        known = [window for window in windows if window is not None]
        if not known and (usual := plain(row, features, shape)):
            convs, size = usual
            self._seen((row[0].inputs, size, size), facts.origin("input_shape") if shape else "assumed")
            return convs
        try:
            found = trunk.infer(
                [unit.shape for unit in row], features, shape=shape, windows=known if len(known) == len(row) else None
            )
        except trunk.TrunkUnknown as e:
            raise Unfit(f"the strides of its convolutions cannot be told: {e}") from None
        self._seen(found.input_shape, facts.origin("input_shape") if shape else found.shape_origin)
        return found.encoder.convs

    def _residual(self, place: str, row: Sequence[Unit], channels: tuple[int, ...], features: int) -> Residual:
        each = len(row) // len(channels)
        for i, unit in enumerate(row):
            self._layer(f"{place}.stage.{i // each}.{i % each}", unit)
        size = screen(self.seen.facts.input_shape, lambda n: channels[-1] * halved(n, len(channels)) ** 2 == features)
        if not size:
            raise Unfit(f"no usual screen gives {features} features")
        known = self.seen.facts.input_shape
        self._seen((row[0].inputs, size, size), self.seen.facts.origin("input_shape") if known else "assumed")
        return Residual(channels=channels, blocks=each // 2)


_NOISY = ("weight_mu", "weight_sigma", "bias_mu", "bias_sigma")
