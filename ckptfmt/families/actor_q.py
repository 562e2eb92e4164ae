"""A policy and critics that value its actions (SAC, TD3, DDPG, TQC, discrete SAC), with a state value beside or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ckptfmt.families.blocks import Body, Tensors, body_kind, body_tensors, linear_tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import recogniser
from ckptfmt.families.config import one_of, positive
from ckptfmt.families.critics import doubt
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.heads import action_size, drop_temperatures, read_policy, usual_scale
from ckptfmt.families.network import PolicyConfig, ensemble_name, noise_names, policy_tensors
from ckptfmt.families.outline import Chain, Unit
from ckptfmt.families.quantile_q import is_quantile
from ckptfmt.families.registry import Family, Shape
from ckptfmt.families.sides import Sides, chained, parted
from ckptfmt.families.targets import COPIED, read_target, target_tensors
from ckptfmt.format.document import value
from ckptfmt.format.kinds import optional

__all__ = ["FAMILY", "ActorQConfig", "critic_tensors", "read_critics"]

# Each is held against all others. REDQ, of those that are known, keeps the most critics, ten, and a target of each.
_MOST_CHAINS = 32


@dataclass(frozen=True, kw_only=True)
class ActorQConfig(PolicyConfig):
    """What a policy and its critics are rebuilt from.

    The critics of real actions take what is seen with the action behind it; those of discrete ones give a value each.
    What has a target copy is rebuilt with it, for whoever goes on training; no answer depends on one.
    """

    family = "actor-q"

    n_critics: int = value(positive, "How many critics there are.")
    critic_trunk: Body = value(body_kind, "The layers of each critic, up to its head.", default=())
    n_quantiles: int | None = value(
        optional(positive), "Quantiles that a critic gives of the return; null where it gives its mean.", default=None
    )
    value_trunk: Body | None = value(
        optional(body_kind), "The layers of a state value beside the critics; null where there is none.", default=None
    )
    target: str = value(
        one_of("none", *COPIED),
        "Which of its networks have a copy that follows them slowly, under their names behind `target.`.",
        default="none",
    )


def critic_tensors(body: Body, count: int, seen: Shape, rows: int) -> Tensors:
    """Return {name: shape} of so many critics of what is `seen`, with so many rows each."""
    found: Tensors = {}
    for i in range(count):
        inner, features = body_tensors(f"critics.{i}.body", body, seen)
        found |= inner | linear_tensors(f"critics.{i}.head", rows, prod(features))
    return found


def _tensors(config: ActorQConfig) -> Tensors:
    found, seen = config.shared()
    found |= policy_tensors(config, seen)
    discrete = config.policy == "categorical"
    inputs = seen if discrete else (prod(seen) + config.rows,)
    rows = (config.rows if discrete else 1) * (config.n_quantiles or 1)
    found |= critic_tensors(config.critic_trunk, config.n_critics, inputs, rows)
    if config.value_trunk is not None:
        body, features = body_tensors("value", config.value_trunk, seen)
        found |= body | linear_tensors("state_value", 1, prod(features))
    return found | target_tensors(found, config.target)


def read_critics(draft: Draft, critics: Sequence[Chain]) -> None:
    """Read critics, all of one kind; raise `Unfit` where they are not."""
    if len({critic.signature for critic in critics}) != 1 or any(len(critic.heads) != 1 for critic in critics):
        raise Unfit("its critics are not all alike")
    for i, critic in enumerate(critics):
        draft.body("critic_trunk", f"critics.{i}.body", critic.units, critic.features, behind=critic.heads)
        draft.head(f"critics.{i}.head", critic.heads[0])
    draft.infer(n_critics=len(critics))


def _name(config: ActorQConfig) -> str:
    critics = ensemble_name("quantile-q" if config.n_quantiles else "q", config.n_critics)
    return f"{config.policy}+{critics}{'+value' if config.value_trunk is not None else ''}"


def _read(draft: Draft, sides: Sides) -> Proposal:
    policy, others = _chains(sides)
    rows, size = policy.heads[0].outputs, action_size(policy, others)
    discrete = not size
    critics = [other for other in others if discrete or other.inputs == policy.inputs + size]
    values = [other for other in others if other not in critics]
    if discrete and any(critic.inputs != policy.inputs or critic.heads[0].outputs != rows for critic in critics):
        raise Unfit("its critics do not value what the policy gives")
    draft.observe((policy.units or policy.heads)[0])
    why = read_policy(draft, policy, critics=critics)
    if (draft.fields["policy"] == "categorical") != discrete:
        raise Unfit("its critics do not value what the policy gives")
    read_critics(draft, critics)
    if draft.seen.facts.architecture is None and (
        why_not := doubt(policy, critics) or (values and doubt(policy, values))
    ):
        raise Unfit(why_not, "key", "architecture")
    if not discrete and critics[0].heads[0].outputs > 1:
        _read_quantiles(draft, sides, critics[0].heads[0])
    _read_value(draft, policy, values)
    draft.take(activation="relu", input_scale=usual_scale(draft))
    drop_temperatures(draft)
    read_target(draft)
    return draft.propose(
        FAMILY, what="a policy and its critics", sees=why, witnesses=_witnesses(sides, policy, critics, discrete)
    )


def _read_quantiles(draft: Draft, sides: Sides, head: Unit) -> None:
    """Read as quantiles (Kuznetsov et al. 2020) what somebody says is some: atoms and several rewards are rows too."""
    known = draft.said("n_quantiles") == head.outputs
    texts = (*draft.seen.context, *draft.seen.agents, *(piece for row in sides.critic for piece in row.path))
    if not known and not any(map(is_quantile, texts)):
        why = f"{head.name} gives {head.outputs} numbers, which are quantiles, atoms or values of several things"
        raise Unfit(why, "key", "n_quantiles")
    draft.infer(n_quantiles=head.outputs)
    if known:
        draft.origin["n_quantiles"] = draft.seen.facts.origin("n_quantiles")


def _chains(sides: Sides) -> tuple[Chain, list[Chain]]:
    """Return the policy and all other chains; by words, or where there are none by what takes the action."""
    if sides.policy and sides.critic and not sides.rest:
        policy, others = chained(sides.policy), parted(sides.critic)
        if policy and others:
            return policy, others
        raise Unfit("its layers do not follow one another")
    chains = parted(sides.own)
    if len(chains) > _MOST_CHAINS:
        raise Unfit(f"it has {len(chains)} networks beside one another")
    for policy in chains:
        others = [chain for chain in chains if chain is not policy]
        size = action_size(policy, others)
        if size and all(chain.inputs == policy.inputs + size and len(chain.heads) == 1 for chain in others):
            return policy, others
    raise Unfit("it does not have both a policy and critics")


def _read_value(draft: Draft, policy: Chain, values: Sequence[Chain]) -> None:
    if not values:
        return
    one, *more = values
    if more or one.inputs != policy.inputs or [head.outputs for head in one.heads] != [1]:
        raise Unfit("it has critics of another kind")
    draft.body("value_trunk", "value", one.units, one.features)
    draft.head("state_value", one.heads[0])


def _witnesses(sides: Sides, policy: Chain, critics: Sequence[Chain], discrete: bool) -> list[Witness]:
    first = next(critics[0].sources)
    if not discrete:
        says = (
            f"{first} takes the {policy.inputs} features of the policy and the {critics[0].inputs - policy.inputs} of "
            "its action"
        )
        return [Witness("structure", says)]
    spoken = sides.spoken(sides.policy), sides.spoken(sides.critic)
    # Shapes alone are those of any two heads of as many rows.
    if not all(spoken):
        return []
    return [
        Witness("word", f"{spoken[0]} is a name of a policy, and {spoken[1]} beside it of a critic of as many rows")
    ]


FAMILY = Family(
    name="actor-q",
    about="A policy and critics of its actions",
    examples=("gaussian+twin-q", "deterministic+q", "categorical+twin-q", "gaussian+twin-quantile-q"),
    told_by="critics that take what the policy sees and gives; of discrete actions words for both",
    never="squashing, clamps and the scale of the action",
    config=ActorQConfig,
    network_name=_name,
    tensors=_tensors,
    optional=noise_names,
    unseen=("target",),
    recognise=recogniser(ActorQConfig.family, _read),
)
