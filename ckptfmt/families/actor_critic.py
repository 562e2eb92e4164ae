"""Actor-critics: a policy and a state value, on a trunk of both or each on its own (PPO, A2C, TRPO, IMPALA)."""

from dataclasses import dataclass
from math import prod

from ckptfmt.families.blocks import Body, Tensors, body_kind, body_tensors, linear_tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import recogniser
from ckptfmt.families.config import one_of, refused
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.heads import drop_temperatures, read_policy, usual_scale
from ckptfmt.families.network import PolicyConfig, noise_names, policy_tensors, statistics_tensors
from ckptfmt.families.outline import Chain
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides, chained
from ckptfmt.format.document import value

__all__ = ["FAMILY", "ActorCriticConfig", "actor_critic_tensors", "read_actor_critic"]


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig(PolicyConfig):
    """What an actor-critic is rebuilt from."""

    family = "actor-critic"

    value_trunk: Body = value(body_kind, "Between the trunk and the head of the state value.", default=())
    value_sees: str = value(
        one_of("the same", "own"),
        "Whether the value normalises what it sees as the policy does, or by running statistics of its own.",
        default="the same",
    )
    value_normalizer: str = value(
        one_of("none", "variance", "deviation"),
        "By what running statistics of returns the value is brought back to their scale.",
        default="none",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_sees == "own" and (self.trunk or self.normalizer == "none"):
            raise refused("value_sees", "is own only where policy and value share nothing and there is a normalizer")


def actor_critic_tensors(config: ActorCriticConfig) -> Tensors:
    """Return {name: shape} of the trunk, the policy and the state value."""
    found, seen = config.shared()
    found |= policy_tensors(config, seen)
    body, features = body_tensors("value", config.value_trunk, seen)
    if config.value_sees == "own":
        found |= statistics_tensors("value_sees", config.normalizer, config.observation)
    found |= body | linear_tensors("state_value", 1, prod(features))
    return found | statistics_tensors("value_normalizer", config.value_normalizer, (1,))


def read_actor_critic(draft: Draft, sides: Sides, family: Family) -> Proposal:
    """Read an actor-critic; raise `Unfit` where there is none."""
    policy, critic, shared = _chains(sides)
    if len(critic.heads) != 1 or critic.heads[0].outputs != 1:
        raise Unfit("its critic gives more than one number")
    if shared:
        after = policy.units[shared].inputs if len(policy.units) > shared else policy.features
        behind = (*policy.units[shared:], *policy.heads)
        draft.body("trunk", "trunk", policy.units[:shared], after, behind=behind)
        draft.observe(policy.units[0])
    else:
        draft.observe((policy.units or policy.heads)[0])
        draft.observe((critic.units or critic.heads)[0])
    why = read_policy(draft, policy, shared=shared, alone=False)
    draft.body("value_trunk", "value", critic.units[shared:], critic.features)
    draft.head("state_value", critic.heads[0])
    draft.take(activation="relu" if policy.is_pixels else "tanh", input_scale=usual_scale(draft))
    drop_temperatures(draft)
    return draft.propose(family, what="an actor-critic", sees=why, witnesses=_witnesses(sides))


def _chains(sides: Sides) -> tuple[Chain, Chain, int]:
    """Return the chains of policy and value, each from what is seen on, and how many layers they share."""
    if not sides.policy or not sides.critic:
        raise Unfit("it does not have both a policy and a value")
    shared = sum(len(row.units) for row in sides.rest)
    policy, critic = chained([*sides.rest, *sides.policy]), chained([*sides.rest, *sides.critic])
    if policy and critic and shared and policy.units[:shared] == critic.units[:shared]:
        return policy, critic, shared
    critic = chained(sides.critic)
    if policy is None or critic is None or critic.is_pixels > policy.is_pixels:
        raise Unfit("its layers do not follow one another")
    behind = critic.inputs == policy.features and not critic.is_pixels and bool(policy.units)
    if critic.inputs == policy.inputs and critic.is_pixels == policy.is_pixels and (critic.units or not behind):
        # What bears no word is then the policy's alone.
        return policy, critic, 0
    if behind:
        # A head alone takes what the layers of the policy give.
        return policy, Chain((*policy.units, *critic.units), critic.heads), len(policy.units)
    raise Unfit("its layers do not follow one another")


def _witnesses(sides: Sides) -> list[Witness]:
    # A whole word for the policy makes a letter beside it, as `v`, one for the value.
    policy, critic = sides.spoken(sides.policy), sides.spoken(sides.critic) or sides.critic[0].units[0].name
    if not policy:
        return []
    return [Witness("word", f"{policy} is a name of a policy, and {critic} beside it of a state value")]


def _read(draft: Draft, sides: Sides) -> Proposal:
    return read_actor_critic(draft, sides, FAMILY)


FAMILY = Family(
    name="actor-critic",
    about="A policy and a state value, on one trunk or on two",
    examples=("categorical", "gaussian", "multi-categorical"),
    told_by="words for a policy and, beside it, for a value of one row",
    never="PPO from A2C or TRPO; discrete from real actions where nothing gives a deviation",
    config=ActorCriticConfig,
    network_name=lambda config: str(config.policy),
    tensors=actor_critic_tensors,
    optional=noise_names,
    recognise=recogniser(ActorCriticConfig.family, _read, cells=False),
)
