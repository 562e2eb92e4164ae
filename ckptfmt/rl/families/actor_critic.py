"""Actor-critics: a policy and a state value, recurrent or not."""

from torch import Tensor

from ckptfmt.families.actor_critic import ActorCriticConfig
from ckptfmt.rl.families.blocks import State, linear, part
from ckptfmt.rl.families.network import PolicyNetwork

__all__ = ["ActorCritic", "build"]


class ActorCritic(PolicyNetwork):
    """A policy and a state value, behind one trunk or each behind its own."""

    def __init__(self, config: ActorCriticConfig) -> None:
        super().__init__(config)
        self.value = self._body(config.value_trunk, self.seen)
        self.state_value = linear(self.value.features, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map what is seen to (logits, mean or action) and the value (batch,) of the state."""
        found = self.outputs(x)
        return self.decision(found), found["value"]

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return what the policy gives, and `value`."""
        features = self.features(x, state)
        value = self.state_value(self.value(features, part(state, "value"), lead=self.lead)).squeeze(-1)
        return {**self.policy_outputs(features, state), "value": value}


def build(config: ActorCriticConfig) -> ActorCritic:
    """Return an actor-critic, freshly initialised."""
    return ActorCritic(config)
