"""One stream of action values, or two, of values and advantages: what the families of Q-values have in common."""

from dataclasses import dataclass
from math import prod

from ckptfmt.families.atari_dqn.config import JOINS
from ckptfmt.families.blocks import Body, Mlp, Tensors, body_kind, body_tensors, linear_tensors
from ckptfmt.families.config import flag, one_of, positive
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.names import words
from ckptfmt.families.network import NetworkConfig
from ckptfmt.families.outline import Chain, Row, Unit
from ckptfmt.families.sides import Sides, chained, said_of
from ckptfmt.format.document import value
from ckptfmt.format.record import record

__all__ = ["Streams", "StreamsConfig", "read_streams", "stream_tensors", "told_streams"]


_CHANCE = frozenset({"eps", "epsilon"})


@dataclass(frozen=True, kw_only=True)
class StreamsConfig(NetworkConfig):
    """What the streams of a value network are rebuilt from, behind its trunk."""

    n_action: int = value(positive, "How many actions the network values.")
    dueling: bool = value(flag, "Whether there is a stream of values beside one of advantages.", default=False)
    value_trunk: Body = value(body_kind, "Between the trunk and the value, of a dueling network.", default=())
    advantage_trunk: Body = value(body_kind, "Between the trunk and the advantages, of a dueling network.", default=())
    dueling_join: str = value(
        one_of(*JOINS),
        "How value V and advantage A of a dueling network make Q-values: V + A - mean A, V + A - max A, V + A, or "
        "V - A + mean A.",
        default="mean",
    )
    noisy: bool = value(flag, "Whether its heads are noisy, with factorised noise.", default=False)

    @property
    def per_action(self) -> int:
        """Return how many rows of the head an action has."""
        return 1

    @property
    def is_noisy(self) -> bool:
        """Whether any of its layers is noisy."""
        blocks = (block for _, body in self.bodies() for block in body)
        return self.noisy or any(isinstance(block, Mlp) and block.noisy for block in blocks)


@record
class Streams:
    """The chain of action values, or those of value and advantage, and how many layers they share."""

    value: Chain
    advantage: Chain | None = None
    shared: int = 0
    why: str = ""

    @property
    def rows(self) -> int:
        """How many rows there are for all actions together."""
        return (self.advantage or self.value).heads[0].outputs

    @property
    def chains(self) -> list[tuple[Unit, ...]]:
        """The layers before each head."""
        return [chain.units for chain in (self.value, self.advantage) if chain is not None]


def stream_tensors(config: StreamsConfig) -> Tensors:
    """Return {name: shape} of the trunk and the streams behind it."""
    found, seen = config.shared()
    rows = config.n_action * config.per_action
    if not config.dueling:
        return found | linear_tensors("q", rows, prod(seen), noisy=config.noisy)
    for stream, body, outputs in (
        ("value", config.value_trunk, config.per_action),
        ("advantage", config.advantage_trunk, rows),
    ):
        inner, features = body_tensors(stream, body, seen)
        found |= inner | linear_tensors(f"{stream}_head", outputs, prod(features), noisy=config.noisy)
    return found


def told_streams(sides: Sides) -> Streams:
    """Return the stream or the two of a value network; raise `Unfit` where there is none or a policy beside it."""
    if sides.policy:
        raise Unfit(f"{sides.policy[0].units[0].name} is a name of a policy")
    advantage = [row for row in sides.own if any("advantage" in said_of(piece, sides.common) for piece in row.path)]
    values = [row for row in sides.own if row not in advantage and _is_value(row, sides)]
    if not advantage:
        advantage, values = _letters(sides)
    if not advantage or not values:
        chain = chained(sides.own)
        if chain is None or len(chain.heads) != 1:
            raise Unfit("its layers do not follow one another")
        return Streams(chain)
    rest = [row for row in sides.own if row not in advantage and row not in values]
    one, other = chained([*rest, *values]), chained([*rest, *advantage])
    shared = sum(len(row.units) for row in rest)
    if (
        one is None
        or other is None
        or len(one.heads) + len(other.heads) != 2
        or one.units[:shared] != other.units[:shared]
    ):
        raise Unfit("its streams do not follow one trunk")
    # A value has a row for each atom or quantile, an advantage as many for every action.
    if other.heads[0].outputs % one.heads[0].outputs:
        raise Unfit("its streams do not fit one another")
    return Streams(one, other, shared, f"{advantage[0].units[0].name} is a name of an advantage")


def read_streams(draft: Draft, streams: Streams, per_action: int = 1) -> None:
    """Read the trunk, the streams and their heads; raise `Unfit` where their rows are not those of actions."""
    first = (streams.value.units or streams.value.heads)[0]
    for unit in draft.outline.vectors:
        if prod(unit.shape) == 1 and _CHANCE & {*words(unit.name)}:
            draft.drop([*unit.sources], "how often its agent tries other actions")
    if streams.rows % per_action:
        raise Unfit(f"{streams.rows} rows are not so many for each action")
    draft.infer(n_action=streams.rows // per_action, noisy=streams.value.heads[0].kind == "noisy")
    if streams.advantage is None:
        draft.body("trunk", "trunk", streams.value.units, streams.value.features, behind=streams.value.heads)
        draft.head("q", streams.value.heads[0])
        draft.observe(first)
        return
    value, advantage, shared = streams.value, streams.advantage, streams.shared
    if value.heads[0].outputs != per_action:
        raise Unfit("its value has other rows than an action")
    if shared:
        behind = (*value.units, *value.heads)[shared:]
        draft.body("trunk", "trunk", value.units[:shared], behind[0].inputs, behind=behind)
    draft.observe(first)
    draft.body("value_trunk", "value", value.units[shared:], value.features)
    draft.body("advantage_trunk", "advantage", advantage.units[shared:], advantage.features)
    draft.head("value_head", value.heads[0])
    draft.head("advantage_head", advantage.heads[0])
    draft.infer(dueling=True)
    # Wang et al. 2016 subtract the mean; no weight shows it.
    draft.take(dueling_join="mean")


def _is_value(row: Row, sides: Sides) -> bool:
    return any(said_of(piece, sides.common) == {"value"} for piece in row.path)


def _letters(sides: Sides) -> tuple[list[Row], list[Row]]:
    """Streams called A and V side by side, or as two code bases alone call those of a dueling network.

    Tianshou has Q and V, OpenAI's baselines and Stable-Baselines 2 have `action_value` and `state_value`.
    """
    baselines = all("deepq" in row.words for row in sides.own)
    known = {"A": "A", "Q": "Q", "V": "V", **({"action_value": "A", "state_value": "V"} if baselines else {})}
    places = {row: [i for i, piece in enumerate(row.path) if piece in known][:1] for row in sides.own}
    called = {row: known[row.path[found[0]]] for row, found in places.items() if found}
    parents, letters = {row.path[: places[row][0]] for row in called}, {*called.values()}
    if len(parents) != 1 or letters not in ({"A", "V"}, {"Q", "V"}):
        return [], []
    if "Q" in letters and any("model" not in row.path for row in called):
        return [], []
    return [row for row, letter in called.items() if letter != "V"], [row for row in called if called[row] == "V"]
