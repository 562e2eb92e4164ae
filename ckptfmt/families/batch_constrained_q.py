"""Q-values and an imitation of the actions in the data (discrete BCQ, Fujimoto et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import prod

from ckptfmt.families.blocks import Body, Tensors, body_kind, body_tensors, linear_tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import recogniser
from ckptfmt.families.config import positive
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.names import words
from ckptfmt.families.network import NetworkConfig, noise_names
from ckptfmt.families.outline import Row
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides, chained, said_of
from ckptfmt.format.document import value

__all__ = ["FAMILY", "BatchConstrainedConfig"]


@dataclass(frozen=True, kw_only=True)
class BatchConstrainedConfig(NetworkConfig):
    """What a batch-constrained Q-network is rebuilt from."""

    family = "batch-constrained-q"

    n_action: int = value(positive, "How many actions the network values and imitates.")
    q_trunk: Body = value(body_kind, "Between the trunk and the Q-values.", default=())
    imitation_trunk: Body = value(body_kind, "Between the trunk and the logits of the imitation.", default=())


def _tensors(config: BatchConstrainedConfig) -> Tensors:
    found, seen = config.shared()
    for name, body in (("q", config.q_trunk), ("imitation", config.imitation_trunk)):
        inner, features = body_tensors(name, body, seen)
        found |= inner | linear_tensors(f"{name}_head", config.n_action, prod(features))
    return found


def _read(draft: Draft, sides: Sides) -> Proposal:
    # What all of it lies in may be called Q as well (sfujim keeps a dict of Q and Q_target).
    above = _depth([row.path[:-1] for row in sides.own])
    values = [row for row in sides.own if _says(row, "q", above)]
    imitation = [row for row in sides.own if _says(row, "imitation", above) or _words(row, above) == ["i"]]
    rest = [row for row in sides.own if row not in values and row not in imitation]
    one, other = chained([*rest, *values]), chained([*rest, *imitation])
    shared = sum(len(row.units) for row in rest)
    if not values or not imitation or one is None or other is None or one.units[:shared] != other.units[:shared]:
        raise Unfit("it does not have both Q-values and an imitation")
    rows = {head.outputs for head in (*one.heads, *other.heads)}
    if len(rows) != 1 or len(one.heads) + len(other.heads) != 2 or 1 in rows:
        raise Unfit("its two heads have different numbers of rows")
    if shared:
        draft.body("trunk", "trunk", one.units[:shared], (*one.units, *one.heads)[shared].inputs)
    for name, chain in (("q", one), ("imitation", other)):
        draft.body(f"{name}_trunk", name, chain.units[shared:], chain.features)
        draft.head(f"{name}_head", chain.heads[0])
    draft.observe((one.units or one.heads)[0])
    draft.infer(n_action=rows.pop())
    draft.take(activation="relu", input_scale=1.0)
    sees = f"{other.heads[0].name} is an imitation of the actions in the data, beside Q-values of as many rows"
    return draft.propose(
        FAMILY, what="a batch-constrained Q-network", sees=sees, witnesses=[Witness("structure", sees)]
    )


def _depth(paths: Sequence[tuple[str, ...]]) -> int:
    """Return how many pieces all paths begin with."""
    return sum(1 for _ in takewhile(lambda pieces: len({*pieces}) == 1, zip(*paths, strict=False)))


def _says(row: Row, what: str, above: int) -> bool:
    return any(what in said_of(piece) for piece in row.path[above:])


def _words(row: Row, above: int) -> list[str]:
    return [word for piece in row.path[above:] for word in words(piece) if not word.isdigit()]


FAMILY = Family(
    name="batch-constrained-q",
    about="Q-values and an imitation of the actions in the data",
    examples=("bcq",),
    told_by="Q-values beside an imitation of as many rows",
    never="the threshold of the imitation",
    config=BatchConstrainedConfig,
    network_name=lambda config: "bcq",
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(BatchConstrainedConfig.family, _read),
)
