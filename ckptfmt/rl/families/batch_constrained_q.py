"""Q-values and an imitation of the actions in the data."""

import torch
from torch import Tensor

from ckptfmt.families.batch_constrained_q import BatchConstrainedConfig
from ckptfmt.rl.families.blocks import State, linear
from ckptfmt.rl.families.network import BlockNetwork

__all__ = ["BatchConstrainedQ", "build"]

# Fujimoto et al. 2019: actions of less than this part of the likeliest one's probability are not taken.
_THRESHOLD = 0.3


class BatchConstrainedQ(BlockNetwork):
    """`q_values` and `imitation_logits`, both (batch, n_action)."""

    def __init__(self, config: BatchConstrainedConfig) -> None:
        super().__init__(config)
        for name, trunk in (("q", config.q_trunk), ("imitation", config.imitation_trunk)):
            body = self._body(trunk, self.seen)
            self.add_module(name, body)
            self.add_module(f"{name}_head", linear(body.features, config.n_action))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map what is seen to Q-values and logits of the imitation."""
        found = self.outputs(x)
        return found["q_values"], found["imitation_logits"]

    def get_q_values(self, x: Tensor) -> Tensor:
        """Return (batch, n_action) expected returns."""
        return self.outputs(x)["q_values"]

    def choose(self, found: dict[str, Tensor]) -> Tensor:
        """Return the best of the actions that the data would take."""
        chances = found["imitation_logits"].softmax(-1)
        likely = chances >= _THRESHOLD * chances.amax(-1, keepdim=True)
        return torch.where(likely, found["q_values"], -torch.inf).argmax(dim=-1)

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return both."""
        features = self.features(x, state)
        names = {"q_values": "q", "imitation_logits": "imitation"}
        modules = {key: (self.get_submodule(name), self.get_submodule(f"{name}_head")) for key, name in names.items()}
        return {key: head(body(features)) for key, (body, head) in modules.items()}


def build(config: BatchConstrainedConfig) -> BatchConstrainedQ:
    """Return a batch-constrained Q-network, freshly initialised."""
    return BatchConstrainedQ(config)
