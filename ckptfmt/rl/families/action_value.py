"""Critics of real actions saved alone."""

from math import prod

import torch
from torch import Tensor

from ckptfmt.families.action_value import ActionValueConfig
from ckptfmt.rl.families.blocks import State
from ckptfmt.rl.families.critics import make_critics, valued
from ckptfmt.rl.families.network import BlockNetwork

__all__ = ["ActionValue", "build"]


class ActionValue(BlockNetwork):
    """Critics, which take an action behind what is seen."""

    def __init__(self, config: ActionValueConfig) -> None:
        super().__init__(config)
        seen = (prod(self.seen) + config.action_dim,)
        self.critics = make_critics(config.critic_trunk, config.n_critics, seen, 1, config.activation)

    def forward(self, x: Tensor, action: Tensor) -> Tensor:
        """Map what is seen and actions (batch, action_dim) to values (critics, batch)."""
        return self.outputs(x, action=action)["critics"]

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return `critics` of the `action` given."""
        if "action" not in given:
            raise TypeError("critics value actions, and outputs() was given none")
        features = self.features(x, state).flatten(1)
        return {
            "critics": valued(self.critics, torch.cat([features, given["action"].to(features.dtype)], 1)).squeeze(-1)
        }


def build(config: ActionValueConfig) -> ActionValue:
    """Return critics, freshly initialised."""
    return ActionValue(config)
