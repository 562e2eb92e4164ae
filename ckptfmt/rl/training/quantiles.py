"""Quantile regression, from which QR-DQN (Dabney et al. 2018a) and IQN (Dabney et al. 2018b) learn."""

import torch
from torch import Tensor

__all__ = ["middles", "quantile_losses"]


def middles(count: int, device: torch.device) -> Tensor:
    """Return the middles of so many even steps from 0 to 1, (count,): the fractions of fixed quantiles."""
    return (torch.arange(count, device=device, dtype=torch.float32) + 0.5) / count


def quantile_losses(predicted: Tensor, fractions: Tensor, target: Tensor) -> Tensor:
    """Return the quantile Huber loss (batch,) of quantiles (batch, n) at `fractions` (n,) or (batch, n).

    `target` (batch, m) are samples of the return. Each pair of a quantile and a sample counts with the Huber loss of
    their difference (threshold 1), as much as the fraction asks for on that side; the mean is taken over the samples,
    the sum over the quantiles.
    """
    errors = target.unsqueeze(1) - predicted.unsqueeze(2)
    size = errors.abs()
    huber = torch.where(size <= 1, errors.square() / 2, size - 0.5)
    below = (errors.detach() < 0).to(errors.dtype)
    losses: Tensor = ((fractions.unsqueeze(-1) - below).abs() * huber).mean(dim=2).sum(dim=1)
    return losses
