"""Policies saved alone."""

from torch import Tensor

from ckptfmt.families.network import PolicyConfig
from ckptfmt.rl.families.blocks import State
from ckptfmt.rl.families.network import PolicyNetwork

__all__ = ["Policy", "build"]


class Policy(PolicyNetwork):
    """A policy: logits (batch, n_action), mean and log_std (batch, action_dim), or an action."""

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return what the policy gives."""
        return self.policy_outputs(self.features(x, state), state)


def build(config: PolicyConfig) -> Policy:
    """Return a policy, freshly initialised."""
    return Policy(config)
