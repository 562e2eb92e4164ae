"""Actor-critics with a recurrent cell, before both heads or before each."""

from dataclasses import dataclass

from ckptfmt.families.actor_critic import ActorCriticConfig, actor_critic_tensors, read_actor_critic
from ckptfmt.families.claim import Proposal
from ckptfmt.families.claims import recogniser
from ckptfmt.families.draft import Draft
from ckptfmt.families.network import noise_names
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides

__all__ = ["FAMILY", "RecurrentActorCriticConfig"]


@dataclass(frozen=True, kw_only=True)
class RecurrentActorCriticConfig(ActorCriticConfig):
    """What a recurrent actor-critic is rebuilt from."""

    family = "recurrent-actor-critic"


def _read(draft: Draft, sides: Sides) -> Proposal:
    return read_actor_critic(draft, sides, FAMILY)


FAMILY = Family(
    name="recurrent-actor-critic",
    about="A policy and a state value behind an LSTM or a GRU",
    examples=("categorical+lstm", "gaussian+gru"),
    told_by="the words of actor-critic, behind a cell of three or four gates",
    never="what cannot be told of actor-critic",
    config=RecurrentActorCriticConfig,
    network_name=lambda config: f"{config.policy}{config.cell_name()}",
    tensors=actor_critic_tensors,
    optional=noise_names,
    recognise=recogniser(RecurrentActorCriticConfig.family, _read, cells=True),
)
