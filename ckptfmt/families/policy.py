"""Policies saved alone: logits of discrete actions, a Gaussian or Beta distribution over real ones, or one action."""

from ckptfmt.families.blocks import Tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import recogniser
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.heads import drop_temperatures, read_policy, usual_scale
from ckptfmt.families.network import PolicyConfig, noise_names, policy_tensors
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides, chained
from ckptfmt.families.vocabulary import meaning

__all__ = ["FAMILY"]


def _tensors(config: PolicyConfig) -> Tensors:
    found, seen = config.shared()
    return found | policy_tensors(config, seen)


def _read(draft: Draft, sides: Sides) -> Proposal:
    if sides.critic:
        raise Unfit("it has values beside a policy")
    chain = chained(sides.own)
    if chain is None:
        raise Unfit("its layers do not follow one another")
    draft.observe((chain.units or chain.heads)[0])
    why = read_policy(draft, chain)
    draft.take(activation="relu", input_scale=usual_scale(draft))
    drop_temperatures(draft)
    return draft.propose(FAMILY, what="a policy", sees=why, witnesses=_witnesses(sides, chain.heads[0].name, why))


def _witnesses(sides: Sides, head: str, why: str) -> list[Witness]:
    spoken = sides.spoken(sides.policy)
    # The network of many a DQN is called policy_net; the word alone around all layers says nothing.
    told = (word for word in sides.common - {"policy"} if len(word) > 1)
    around = next((word for word in told if meaning(word) in ("policy", "mean")), "")
    if spoken or around:
        return [Witness("word", f"{spoken or head} is named as a layer of a policy is, and {why}")]
    return []


FAMILY = Family(
    name="policy",
    about="A policy without a value",
    examples=("categorical", "gaussian", "deterministic", "beta"),
    told_by="words for a policy; a mean beside a deviation",
    never="a policy whose names say nothing",
    config=PolicyConfig,
    network_name=lambda config: f"{config.policy}{config.cell_name()}",
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(PolicyConfig.family, _read),
)
