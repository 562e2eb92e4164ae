"""Actor-critics: a policy and a state value, recurrent or not."""

from torch import Tensor

from ckptfmt.families.actor_critic import ActorCriticConfig
from ckptfmt.rl.families.blocks import Normalizer, State, linear, part, scaled
from ckptfmt.rl.families.network import PolicyNetwork

__all__ = ["ActorCritic", "build"]


class ActorCritic(PolicyNetwork):
    """A policy and a state value, behind one trunk or each behind its own."""

    config: ActorCriticConfig

    def __init__(self, config: ActorCriticConfig) -> None:
        super().__init__(config)
        self.value = self._body(config.value_trunk, self.seen)
        self.state_value = linear(self.value.features, 1)
        if config.value_sees == "own":
            self.value_sees = Normalizer(config, config.normalizer, config.observation)
        if config.value_normalizer != "none":
            self.value_normalizer = Normalizer(config, config.value_normalizer, (1,))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map what is seen to (logits, mean or action) and the value (batch,) of the state."""
        found = self.outputs(x)
        return self.decision(found), found["value"]

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return what the policy gives, and `value`."""
        features = self.features(x, state)
        seen = self.value_sees(scaled(self.config, x, self)) if self.config.value_sees == "own" else features
        value = self.state_value(self.value(seen, part(state, "value"), lead=self.lead))
        if self.config.value_normalizer != "none" and self.config.normalizer_place == "inside":
            value = self.value_normalizer.back(value)
        return {**self.policy_outputs(features, state), "value": value.squeeze(-1)}


def build(config: ActorCriticConfig) -> ActorCritic:
    """Return an actor-critic, freshly initialised."""
    return ActorCritic(config)
