"""Policies saved alone: logits of discrete actions, a Gaussian or Beta distribution over real ones, or one action."""

from ckptfmt.families.blocks import Tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import recogniser
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.heads import drop_temperatures, read_policy, usual_scale
from ckptfmt.families.names import words
from ckptfmt.families.network import PolicyConfig, noise_names, policy_tensors
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides, chained
from ckptfmt.families.vocabulary import meaning

__all__ = ["FAMILY"]

# What texts around a network say of one that is no agent's policy.
_NO_AGENT = frozenset({"imitation", "other"})


def _tensors(config: PolicyConfig) -> Tensors:
    found, seen = config.shared()
    return found | policy_tensors(config, seen)


def _read(draft: Draft, sides: Sides) -> Proposal:
    if sides.critic:
        raise Unfit("it has values beside a policy")
    texts = (*draft.seen.context, *draft.seen.beside)
    if beside := next((text for text in texts if _NO_AGENT & {meaning(word) for word in words(text)}), ""):
        # The policy of batch-constrained learning corrects what an imitation proposes; alone it is none.
        raise Unfit(f"'{beside}' names what is trained beside an agent")
    chain = chained(sides.own)
    if chain is None:
        raise Unfit("its layers do not follow one another")
    draft.observe((chain.units or chain.heads)[0])
    why = read_policy(draft, chain)
    draft.take(activation="relu", input_scale=usual_scale(draft))
    drop_temperatures(draft)
    witnesses = [*_said(draft), *_witnesses(sides, chain.heads[0].name, why)]
    if draft.fields.get("deviation") == "vector" and not witnesses:
        witnesses = [Witness("word", why)]
    return draft.propose(FAMILY, what="a policy", sees=why, witnesses=witnesses)


def _said(draft: Draft) -> list[Witness]:
    """Who says which policy it is has said that it is one."""
    if draft.said("policy") is None:
        return []
    return [Witness("given" if draft.seen.facts.origin("policy") == "given" else "declared", "the policy is named")]


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
