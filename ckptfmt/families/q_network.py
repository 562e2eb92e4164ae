"""Q-networks on features, on residual encoders, with normalisations or deeper heads: all that is no Atari DQN."""

from dataclasses import dataclass
from math import prod

from ckptfmt.families.atari_dqn.config import architecture_name
from ckptfmt.families.atari_dqn.support import NoSupport, ends
from ckptfmt.families.blocks import Tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import is_atari, q_witnesses, recogniser
from ckptfmt.families.config import number, positive, refused
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.implicit_quantile_q import is_implicit
from ckptfmt.families.network import noise_names
from ckptfmt.families.outline import Unit
from ckptfmt.families.quantile_q import is_quantile, levels
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides
from ckptfmt.families.streams import Streams, StreamsConfig, read_streams, stream_tensors, told_streams
from ckptfmt.format.document import value
from ckptfmt.format.kinds import optional

__all__ = ["FAMILY", "QConfig"]

# More rows than this are as likely actions times atoms or quantiles.
_MOST_ACTIONS = 40
_ASSUMED = "that its rows are Q-values is assumed, since the logits of a policy have the same tensors"


@dataclass(frozen=True, kw_only=True)
class QConfig(StreamsConfig):
    """What a Q-network is rebuilt from; `n_atoms`, `v_min` and `v_max` belong to a distributional one."""

    family = "q-network"

    n_atoms: int | None = value(optional(positive), "Atoms of the support; null unless distributional.", default=None)
    v_min: float | None = value(
        optional(number), "Lowest return of the support, less than v_max; null unless distributional.", default=None
    )
    v_max: float | None = value(
        optional(number), "Highest return of the support; null unless distributional.", default=None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {name: getattr(self, name) for name in ("n_atoms", "v_min", "v_max")}
        if odd := next((name for name, item in given.items() if (item is None) != (self.n_atoms is None)), ""):
            raise refused(odd, "belongs to a distributional network, with n_atoms, v_min and v_max together")
        if self.v_min is not None and self.v_max is not None and self.v_min >= self.v_max:
            raise refused("v_min", f"must be less than v_max ({self.v_max:g})")

    @property
    def per_action(self) -> int:
        """Return how many rows of the head an action has."""
        return self.n_atoms or 1


def _tensors(config: QConfig) -> Tensors:
    found = stream_tensors(config)
    return found if config.n_atoms is None else {**found, "support": (config.n_atoms,)}


def _name(config: QConfig) -> str:
    return architecture_name(dueling=config.dueling, distributional=config.n_atoms is not None, noisy=config.is_noisy)


def _read(draft: Draft, sides: Sides) -> Proposal:
    streams = told_streams(sides)
    if any(map(is_atari, streams.chains)) or _is_dueling_atari(streams):
        raise Unfit("it has the layers of an Atari DQN")
    if levels(draft) or any(
        map(is_quantile, (*draft.seen.context, *draft.seen.agents, *(piece for row in sides.own for piece in row.path)))
    ):
        raise Unfit("it gives quantiles")
    if is_implicit(sides):
        raise Unfit("it embeds cosines")
    witnesses = list(q_witnesses(draft, sides))
    support = _support(draft, streams)
    if support is not None:
        witnesses.append(Witness("structure", f"{support.name} is a support beside it"))
    atoms = draft.fields.get("n_atoms") or 1
    read_streams(draft, streams, atoms)
    count = draft.fields["n_action"]
    if count < 2 or (count > _MOST_ACTIONS and draft.said("n_action") != count):
        raise Unfit(f"{count} rows are hardly so many actions")
    draft.take(activation="relu", input_scale=1.0)
    if streams.why:
        witnesses.append(Witness("word", streams.why))
    sees = f"heads of {draft.fields['n_action']} actions"
    return draft.propose(
        FAMILY, what="a Q-network", sees=sees, witnesses=witnesses, assumes=_assumed(draft, sides, streams)
    )


def _is_dueling_atari(streams: Streams) -> bool:
    """Convolutions of both streams, and one hidden layer of both or of each."""
    if streams.advantage is None:
        return False
    own = [units[: len(units)] for units in streams.chains]
    return all(is_atari(units) for units in own)


def _support(draft: Draft, streams: Streams) -> Unit | None:
    """Read the support, or its ends where they are said; None where the rows are plain values."""
    rows = streams.rows
    for unit in draft.outline.vectors:
        size = prod(unit.shape)
        if size < 2 or rows % size or draft.seen.values is None or max(unit.shape) != size:
            continue
        try:
            low, high = ends(unit.name, draft.seen.values)
        except NoSupport:
            continue
        draft.infer(n_atoms=size, v_min=low, v_max=high)
        draft.vector("support", unit, (size,))
        return unit
    said = {name: draft.said(name) for name in ("n_atoms", "v_min", "v_max")}
    if all(item is not None for item in said.values()) and rows % said["n_atoms"] == 0 and said["n_atoms"] > 1:
        for name, item in said.items():
            draft.fields[name], draft.origin[name] = item, draft.seen.facts.origin(name)
    return None


def _assumed(draft: Draft, sides: Sides, streams: Streams) -> str:
    """One head on frames, under names that say nothing, is most often a Q-network's."""
    pixels = len(draft.fields["observation"]) == 3
    silent = all(not sides.side(row) for row in sides.own)
    return _ASSUMED if pixels and silent and streams.advantage is None and not draft.fields.get("n_atoms") else ""


FAMILY = Family(
    name="q-network",
    about="Q-networks on features, on residual encoders, or with normalisations",
    examples=("dqn", "dueling", "distributional", "noisy"),
    told_by="words for Q-values, a target copy, a support, a stream of advantages",
    never="a bare stack of layers from a policy",
    config=QConfig,
    network_name=_name,
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(QConfig.family, _read, cells=False),
)
