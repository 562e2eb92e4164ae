"""The module of torch that computes with those tensors; imported when a network is built, and not before."""

import torch
from torch import Tensor, nn

from .family import LinearConfig


class LinearQ(nn.Module):
    """Q-values (batch, n_action) of features (batch, features)."""

    def __init__(self, config: LinearConfig) -> None:
        super().__init__()
        self.config = config
        self.theta = nn.Parameter(torch.zeros(config.n_action, config.features))

    def forward(self, x: Tensor) -> Tensor:
        """Map features to Q-values."""
        return x.to(self.theta.dtype) @ self.theta.T

    def get_q_values(self, x: Tensor) -> Tensor:
        """Return (batch, n_action) expected returns."""
        return self(x)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return `q_values`."""
        return {"q_values": self(x)}


def build(config: LinearConfig) -> LinearQ:
    """Return a linear Q-network."""
    return LinearQ(config)
