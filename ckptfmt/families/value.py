"""A state value saved alone. Nothing in a file tells it from a critic of actions, so somebody must say so."""

from dataclasses import dataclass
from math import prod

from ckptfmt.families.blocks import Tensors, linear_tensors
from ckptfmt.families.claim import Proposal
from ckptfmt.families.claims import recogniser
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.network import NetworkConfig, noise_names
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides, chained

__all__ = ["FAMILY", "ValueConfig"]


@dataclass(frozen=True, kw_only=True)
class ValueConfig(NetworkConfig):
    """What a state value is rebuilt from."""

    family = "value"


def _tensors(config: ValueConfig) -> Tensors:
    found, seen = config.shared()
    return found | linear_tensors("state_value", 1, prod(seen))


def _read(draft: Draft, sides: Sides) -> Proposal:
    chain = chained(sides.own)
    if draft.seen.facts.architecture is None:
        raise Unfit("")
    if chain is None or [head.outputs for head in chain.heads] != [1]:
        raise Unfit("nothing says that its single output is a state value")
    draft.body("trunk", "trunk", chain.units, chain.features)
    draft.head("state_value", chain.heads[0])
    draft.observe((chain.units or chain.heads)[0])
    draft.take(activation="relu", input_scale=1.0)
    return draft.propose(FAMILY, what="a state value", sees="one head of a single row", witnesses=[])


FAMILY = Family(
    name="value",
    about="A state value without a policy",
    examples=("state-value",),
    told_by="only by being given: architecture value/state-value",
    never="what a single output means",
    config=ValueConfig,
    network_name=lambda config: f"state-value{config.cell_name()}",
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(ValueConfig.family, _read),
)
