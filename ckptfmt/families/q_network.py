"""Q-networks on features, on residual encoders, with normalisations or deeper heads: all that is no Atari DQN."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from ckptfmt.families.actor_q import critic_tensors, read_critics
from ckptfmt.families.atari_dqn.config import architecture_name
from ckptfmt.families.atari_dqn.support import NoSupport, ends
from ckptfmt.families.blocks import Body, Tensors, body_kind
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import is_atari, q_witnesses, recogniser
from ckptfmt.families.config import number, one_of, positive, refused
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.implicit_quantile_q import is_implicit
from ckptfmt.families.names import words
from ckptfmt.families.network import ensemble_name, noise_names
from ckptfmt.families.outline import Chain, Row, Unit
from ckptfmt.families.quantile_q import is_quantile, levels
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides, chained
from ckptfmt.families.skeleton import several_choices
from ckptfmt.families.streams import Streams, StreamsConfig, read_streams, stream_tensors, told_streams
from ckptfmt.families.vocabulary import meaning
from ckptfmt.format.document import value
from ckptfmt.format.kinds import optional

__all__ = ["FAMILY", "QConfig"]

# More rows than this are as likely actions times atoms or quantiles.
_MOST_ACTIONS = 40
# What learners of two networks call them: q1 and q2, qf1 and qf2, q_net_1 and q_net_2. Choices are called q_1 and q_2.
_TWIN = re.compile(r"(?:q|(?:q_?f|q_?(?:net|network|value|values|func|function|critic))_?)([12ab]|_?one|_?two)", re.I)
_PAIRS = (["1", "2"], ["a", "b"], ["one", "two"])
_NUMBERS = frozenset({"one", "two", "three", "first", "second", "third", "a", "b"})
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

    n_critics: int | None = value(
        optional(positive),
        "How many networks of Q-values there are behind the trunk, where there are several; null for one.",
        default=None,
    )
    critic_trunk: Body = value(body_kind, "The layers of each of several networks, up to its head.", default=())
    critic_join: str = value(
        one_of("min", "mean"), "What is taken of the values of several networks for an action.", default="min"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_critics is not None and (self.dueling or self.noisy or self.n_atoms is not None):
            raise refused("n_critics", "is a number of plain networks, neither dueling nor noisy nor distributional")
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
    if config.n_critics is not None:
        found, seen = config.shared()
        return found | critic_tensors(config.critic_trunk, config.n_critics, seen, config.n_action)
    found = stream_tensors(config)
    return found if config.n_atoms is None else {**found, "support": (config.n_atoms,)}


def _name(config: QConfig) -> str:
    if config.n_critics is not None:
        return ensemble_name("dqn", config.n_critics)
    return architecture_name(dueling=config.dueling, distributional=config.n_atoms is not None, noisy=config.is_noisy)


def _read(draft: Draft, sides: Sides) -> Proposal:
    if several := _several(sides):
        if not _are_twins(_by_name(sides)) and not _are_said(draft, several[0]):
            raise Unfit(_open(*several), *(() if several[1] else ("key",)), "n_critics")
        return _read_several(draft, *several)
    streams = told_streams(sides)
    if any(map(is_atari, streams.chains)):
        raise Unfit("it has the layers of an Atari DQN")
    if levels(draft) or any(
        map(is_quantile, (*draft.seen.context, *draft.seen.agents, *(piece for row in sides.own for piece in row.path)))
    ):
        raise Unfit("it gives quantiles")
    if is_implicit(sides):
        raise Unfit("it embeds cosines")
    if draft.seen.choices and draft.seen.facts.architecture is None:
        raise Unfit(several_choices(draft.seen.choices), "architecture")
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


def _several(sides: Sides) -> tuple[list[Chain], int] | None:
    """Return networks of one kind that are called Q-values and numbered, and how many layers they share."""
    if sides.policy:
        return None
    shared = [row for row in sides.own if not _called(row)]
    chains = [chained([*shared, *rows]) for rows in _by_name(sides).values()]
    told = [chain for chain in chains if chain is not None and len(chain.heads) == 1]
    alike = len({chain.signature for chain in told}) == 1
    if len(told) < 2 or len(told) != len(chains) or not alike or told[0].heads[0].outputs < 2:
        return None
    listed = any(name.rpartition("/")[2].isdigit() for name in _by_name(sides))
    if shared and (listed or len(told) > 2):
        # Heads in a list on one trunk are as often those of several choices.
        return None
    return told, sum(len(row.units) for row in shared)


def _are_twins(names: Iterable[str]) -> bool:
    """Whether networks are two that learn the same, called as those of twin learners are."""
    above, last = zip(*(name.rpartition("/")[::2] for name in names), strict=True)
    spelled = [_TWIN.fullmatch(name) for name in last]
    numbers = sorted(found[1].lower().strip("_") for found in spelled if found)
    return len({*above}) == 1 and len(numbers) == len(last) and numbers in _PAIRS


def _are_said(draft: Draft, chains: Sequence[Chain]) -> bool:
    """Whether somebody says how many networks are taken together."""
    return draft.said("n_critics") == len(chains) or draft.seen.facts.architecture is not None


def _open(chains: Sequence[Chain], shared: int) -> str:
    first, *_, last = (chain.heads[0].name for chain in chains)
    what = "heads of as many rows" if shared else "networks of the same layers"
    return (
        f"{first} and {last} are of {len(chains)} {what}: whether they value the same actions together, or belong to "
        "several agents, choices or members of an ensemble, cannot be told"
    )


def _by_name(sides: Sides) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in sides.own:
        if called := _called(row):
            found.setdefault(called, []).append(row)
    return found


def _called(row: Row) -> str:
    """Return the name of one of several networks of Q-values that a row is of: `q1`, `qf_2`, `q_funcs` and a number."""
    for i, piece in enumerate(row.path):
        said = [word for word in words(piece) if word not in _NUMBERS and not word.isdigit()]
        told = {meaning(word) for word in said} - {"neutral", "value", "action"}
        if told != {"q"}:
            continue
        if len(said) < len(words(piece)):
            return "/".join(row.path[: i + 1])
        if row.path[i + 1 : i + 2] and row.path[i + 1].isdigit() and len(row.path) > i + 2:
            return "/".join(row.path[: i + 2])
    return ""


def _read_several(draft: Draft, chains: list[Chain], shared: int) -> Proposal:
    first = chains[0]
    if shared:
        draft.body("trunk", "trunk", first.units[:shared], (*first.units, *first.heads)[shared].inputs)
        draft.observe(first.units[0])
    else:
        draft.observe((first.units or first.heads)[0])
    read_critics(draft, [Chain(chain.units[shared:], chain.heads) for chain in chains])
    if draft.said("n_critics") is not None:
        draft.origin["n_critics"] = draft.seen.facts.origin("n_critics")
    draft.infer(n_action=first.heads[0].outputs)
    draft.take(activation="relu", input_scale=1.0, critic_join="min")
    sees = f"{first.heads[0].name} is one of {len(chains)} heads of Q-values"
    return draft.propose(FAMILY, what="several Q-networks", sees=sees, witnesses=[Witness("word", sees)])


def _support(draft: Draft, streams: Streams) -> Unit | None:
    """Read the support, or its ends where they are said; None where the rows are plain values."""
    rows = streams.rows
    for unit in draft.outline.vectors:
        size = prod(unit.shape)
        if size < 2 or rows % size or draft.seen.values is None or max(unit.shape) != size:
            continue
        try:
            low, high = ends(unit.name, draft.seen.values, known=_says_atoms(draft, size))
        except NoSupport as e:
            if e.options:
                raise Unfit(str(e), *e.options) from None
            continue
        draft.infer(n_atoms=size, v_min=low, v_max=high)
        draft.vector("support", unit, (size,))
        return unit
    said = {name: draft.said(name) for name in ("n_atoms", "v_min", "v_max")}
    if all(item is not None for item in said.values()) and rows % said["n_atoms"] == 0 and said["n_atoms"] > 1:
        for name, item in said.items():
            draft.fields[name], draft.origin[name] = item, draft.seen.facts.origin(name)
    return None


def _says_atoms(draft: Draft, count: int) -> bool:
    """Whether somebody says that there are so many atoms, or that the rows are atoms."""
    return draft.said("n_atoms") == count or "distributional" in (draft.seen.facts.architecture or "")


def _assumed(draft: Draft, sides: Sides, streams: Streams) -> str:
    """One head on frames, under names that say nothing, is most often a Q-network's."""
    pixels = len(draft.fields["observation"]) == 3
    silent = all(not sides.side(row) for row in sides.own)
    return _ASSUMED if pixels and silent and streams.advantage is None and not draft.fields.get("n_atoms") else ""


FAMILY = Family(
    name="q-network",
    about="Q-networks on features, on residual encoders, or with normalisations",
    examples=("dqn", "dueling", "distributional", "noisy", "twin-dqn"),
    told_by="words for Q-values, a target copy, a support, a stream of advantages",
    never="a bare stack of layers from a policy",
    config=QConfig,
    network_name=_name,
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(QConfig.family, _read, cells=False),
)
