"""A policy and critics of its actions."""

from math import prod

import torch
from torch import Tensor, nn

from ckptfmt.families.actor_q import ActorQConfig
from ckptfmt.families.targets import is_copied
from ckptfmt.rl.families.blocks import State, linear
from ckptfmt.rl.families.critics import make_critics, valued
from ckptfmt.rl.families.network import PolicyNetwork

__all__ = ["ActorQ", "build"]


class ActorQ(PolicyNetwork):
    """A policy and critics, which take a real action behind what is seen, or value each of discrete actions."""

    config: ActorQConfig

    def __init__(self, config: ActorQConfig) -> None:
        super().__init__(config)
        self.is_discrete = config.policy == "categorical"
        seen = self.seen if self.is_discrete else (prod(self.seen) + config.rows,)
        rows = (config.rows if self.is_discrete else 1) * (config.n_quantiles or 1)
        self.critics = make_critics(config.critic_trunk, config.n_critics, seen, rows, config.activation)
        if config.value_trunk is not None:
            self.value = self._body(config.value_trunk, self.seen)
            self.state_value = linear(self.value.features, 1)
        if config.target != "none":
            self.target = _target(config)

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return what the policy gives; `critics` of a real `action` where one is given, else of its own."""
        features = self.features(x, state)
        found = self.policy_outputs(features, state)
        if self.config.value_trunk is not None:
            found["value"] = self.state_value(self.value(features)).squeeze(-1)
        if self.is_discrete:
            return {**found, "critics": valued(self.critics, features)}
        action = given.get("action", found["action"]).to(features.dtype)
        values = valued(self.critics, torch.cat([features.flatten(1), action], dim=1))
        if self.config.n_quantiles:
            return {**found, "critic_quantiles": values}
        return {**found, "critics": values.squeeze(-1)}


def _target(config: ActorQConfig) -> nn.Module:
    """Return the copies that follow the networks slowly: a network without what has none."""
    copy = ActorQ(config.replace(target="none", normalizer="none", saved_scale=False))
    for name in [name for name, _ in copy.named_children() if not is_copied(name, config.target)]:
        delattr(copy, name)
    for name in [name for name, _ in copy.named_parameters(recurse=False) if not is_copied(name, config.target)]:
        delattr(copy, name)
    return copy.requires_grad_(False)


def build(config: ActorQConfig) -> ActorQ:
    """Return a policy with its critics, freshly initialised."""
    return ActorQ(config)
