"""Quantiles at any fraction, through a cosine embedding."""

import math

import torch
from torch import Tensor

from ckptfmt.families.implicit_quantile_q import ImplicitQuantileConfig
from ckptfmt.rl.families.blocks import State, activation, linear
from ckptfmt.rl.families.network import BlockNetwork

__all__ = ["ImplicitQuantileQ", "build"]


class ImplicitQuantileQ(BlockNetwork):
    """Quantiles (batch, n_action, fractions): the trunk's features times embedded cosines (Dabney et al. 2018).

    Q-values are the mean over the middles of `n_taus` even steps, or, where fractions are proposed (Yang et al. 2019),
    over those, each with the width of its step.
    """

    config: ImplicitQuantileConfig

    def __init__(self, config: ImplicitQuantileConfig) -> None:
        super().__init__(config)
        size = self.trunk.features
        self.embedding = linear(config.n_cosines, size)
        self.quantile = self._body(config.quantile_trunk, (size,))
        self.quantiles = linear(self.quantile.features, config.n_action)
        if config.n_fractions:
            self.fractions = linear(size, config.n_fractions)
        self.activation = activation(config.activation)

    def forward(self, x: Tensor, taus: Tensor) -> Tensor:
        """Map what is seen and fractions (fractions,) to quantiles (batch, n_action, fractions)."""
        return self.outputs(x, taus=taus)["quantiles"]

    def at(self, x: Tensor, taus: Tensor) -> Tensor:
        """Return quantiles (batch, n_action, fractions) at fractions (batch, fractions) alone, and nothing else."""
        features = self.features(x)
        return self._quantiles(features, taus.to(features.device, _exact(features)))

    def get_q_values(self, x: Tensor) -> Tensor:
        """Return (batch, n_action) expected returns."""
        return self.outputs(x)["q_values"]

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return `q_values`, `quantiles` at the fractions `taus`, and `taus` where they are proposed."""
        features = self.features(x, state)
        even = self._even(features)
        taus = given.get("taus", even).to(even)
        found = {"quantiles": self._quantiles(features, taus.expand(features.shape[0], -1))}
        if not self.config.n_fractions:
            return {**found, "q_values": self._quantiles(features, even).mean(-1)}
        steps = self.fractions(features).softmax(-1)
        taus = torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(-1)], dim=-1)
        middles = self._quantiles(features, (taus[:, 1:] + taus[:, :-1]) / 2)
        return {**found, "taus": taus, "q_values": (middles * steps.unsqueeze(1)).sum(-1)}

    def _even(self, features: Tensor) -> Tensor:
        count = self.config.n_taus
        middles = (torch.arange(count, device=features.device, dtype=_exact(features)) + 0.5) / count
        return middles.expand(features.shape[0], -1)

    def _quantiles(self, features: Tensor, taus: Tensor) -> Tensor:
        """Return (batch, n_action, fractions) at fractions (batch, fractions)."""
        first = int(self.config.first_cosine)
        multiples = torch.arange(first, first + self.config.n_cosines, device=taus.device, dtype=taus.dtype)
        cosines = (math.pi * multiples * taus.unsqueeze(-1)).cos().to(features.dtype)
        embedded = self.activation(self.embedding(cosines))
        product = features.unsqueeze(1) * embedded
        found: Tensor = self.quantiles(self.quantile(product.flatten(0, 1))).unflatten(0, product.shape[:2])
        return found.transpose(1, 2)


def _exact(features: Tensor) -> torch.dtype:
    """Return what fractions are kept in: bfloat16 rounds the angle of the last cosines by half a turn."""
    return torch.promote_types(features.dtype, torch.float32)


def build(config: ImplicitQuantileConfig) -> ImplicitQuantileQ:
    """Return a network of implicit quantiles, freshly initialised."""
    return ImplicitQuantileQ(config)
