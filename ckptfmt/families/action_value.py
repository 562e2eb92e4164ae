"""Critics of real actions saved alone. Where what is seen ends and the action begins, somebody must say."""

from dataclasses import dataclass
from math import prod

from ckptfmt.families.actor_q import critic_tensors, read_critics
from ckptfmt.families.blocks import Body, Tensors, body_kind
from ckptfmt.families.claim import Proposal
from ckptfmt.families.claims import recogniser
from ckptfmt.families.config import positive
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.network import NetworkConfig, ensemble_name, noise_names
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides, parted
from ckptfmt.format.document import value

__all__ = ["FAMILY", "ActionValueConfig"]


@dataclass(frozen=True, kw_only=True)
class ActionValueConfig(NetworkConfig):
    """What critics are rebuilt from; they take what is seen with the action behind it."""

    family = "action-value"

    action_dim: int = value(positive, "How many numbers an action is.")
    n_critics: int = value(positive, "How many critics there are.")
    critic_trunk: Body = value(body_kind, "The layers of each critic, up to its head.", default=())


def _tensors(config: ActionValueConfig) -> Tensors:
    found, seen = config.shared()
    return found | critic_tensors(config.critic_trunk, config.n_critics, (prod(seen) + config.action_dim,), 1)


def _read(draft: Draft, sides: Sides) -> Proposal:
    critics, size = parted(sides.own), draft.said("action_dim")
    if draft.seen.facts.architecture is None:
        raise Unfit("")
    if size is None or not critics:
        raise Unfit("nothing says that they are critics, or how many numbers an action has")
    read_critics(draft, critics)
    if critics[0].heads[0].outputs != 1 or critics[0].is_pixels or critics[0].inputs <= size:
        raise Unfit("they do not take what is seen together with an action")
    draft.infer(observation=(critics[0].inputs - size,))
    draft.fields["action_dim"], draft.origin["action_dim"] = size, draft.seen.facts.origin("action_dim")
    draft.take(activation="relu", input_scale=1.0)
    return draft.propose(FAMILY, what="critics of actions", sees="heads of a single row", witnesses=[])


FAMILY = Family(
    name="action-value",
    about="Critics of real actions without a policy",
    examples=("q", "twin-q"),
    told_by="only by being given: architecture action-value/q, and action_dim",
    never="what a single output means",
    config=ActionValueConfig,
    network_name=lambda config: ensemble_name("q", config.n_critics),
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(ActionValueConfig.family, _read),
)
