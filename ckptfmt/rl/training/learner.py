"""One gradient step of deep Q-learning: targets, losses, the update."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ckptfmt.rl.families.atari_dqn import QNetwork
from ckptfmt.rl.training.batch import Batch
from ckptfmt.rl.training.config import TrainConfig

__all__ = ["Learner", "project"]


@dataclass(frozen=True, slots=True)
class _Tensors:
    """A batch on the device of the network."""

    observations: Tensor
    actions: Tensor
    returns: Tensor
    next_observations: Tensor
    discounts: Tensor
    weights: Tensor


class Learner:
    """The online network, its slowly following target network (Mnih et al. 2015), and the optimizer."""

    def __init__(self, online: QNetwork, config: TrainConfig) -> None:
        self.config = config
        self.online = online.train()
        self.target = copy.deepcopy(online).requires_grad_(False)
        self.device = next(online.parameters()).device
        # One kernel for all parameters: with networks this small the calls cost more than the arithmetic.
        fused = self.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(
            online.parameters(), lr=config.learning_rate, eps=config.adam_eps, fused=fused
        )

    def update(self, batch: Batch) -> tuple[float, NDArray[np.float32]]:
        """Take one step; return the loss and each transition's error, by which it is drawn again."""
        tensors = self._tensors(batch)
        self.online.reset_noise()
        self.target.reset_noise()
        losses, errors = self._losses(tensors)
        loss = (losses * tensors.weights).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.online.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        return float(loss.detach()), errors.cpu().numpy()

    def apply_settings(self) -> None:
        """Let the optimizer use the settings: a state that it took over brings those it was saved with."""
        for group in self.optimizer.param_groups:
            group["lr"], group["eps"] = self.config.learning_rate, self.config.adam_eps

    def sync_target(self) -> None:
        """Copy the online network into the target network."""
        self.target.load_state_dict(self.online.state_dict())

    def _tensors(self, batch: Batch) -> _Tensors:
        names = _Tensors.__dataclass_fields__
        return _Tensors(**{name: torch.from_numpy(getattr(batch, name)).to(self.device) for name in names})

    def _losses(self, batch: _Tensors) -> tuple[Tensor, Tensor]:
        """Return a loss and an error for each transition."""
        if self.config.distributional_dqn:
            target = self._target_distribution(batch)
            logs = self.online.log_probabilities(batch.observations)
            losses = -(target * _chosen(logs, batch.actions)).sum(dim=1)
            return losses, losses.detach()
        values = _chosen(self.online(batch.observations), batch.actions)
        target = self._target_value(batch)
        return functional.smooth_l1_loss(values, target, reduction="none"), (values - target).detach()

    @torch.no_grad()
    def _target_value(self, batch: _Tensors) -> Tensor:
        """Return the TD target: returns + discount * Q_target(next, best action there)."""
        values = self.target(batch.next_observations)
        return batch.returns + batch.discounts * _chosen(values, self._best_actions(batch, values))

    @torch.no_grad()
    def _target_distribution(self, batch: _Tensors) -> Tensor:
        """Return the projected distribution of returns + discount * Z (Bellemare et al. 2017, algorithm 1)."""
        probabilities = self.target(batch.next_observations)
        values = (probabilities * self.target.support).sum(dim=2)
        best = _chosen(probabilities, self._best_actions(batch, values))
        atoms = batch.returns[:, None] + batch.discounts[:, None] * self.target.support
        return project(best, atoms, self.target.support)

    def _best_actions(self, batch: _Tensors, target_values: Tensor) -> Tensor:
        """Double Q-learning lets the online network choose the action that the target network values."""
        if not self.config.double_dqn:
            return target_values.argmax(dim=1)
        return self.online.get_q_values(batch.next_observations).argmax(dim=1)


def project(probabilities: Tensor, atoms: Tensor, support: Tensor) -> Tensor:
    """Share out probabilities (batch, n_atoms) at `atoms` (batch, n_atoms) over the evenly spaced `support`."""
    spacing = (support[-1] - support[0]) / (len(support) - 1)
    place = (atoms.clamp(support[0], support[-1]) - support[0]) / spacing
    # An atom of weight |1 - distance| at each point of the support within one spacing of it.
    distance = (place[:, :, None] - torch.arange(len(support), device=support.device)).abs()
    return ((1 - distance).clamp(min=0) * probabilities[:, :, None]).sum(dim=1)


def _chosen(values: Tensor, actions: Tensor) -> Tensor:
    """Return for each row of (batch, n_action, ...) what belongs to its action."""
    return values[torch.arange(len(actions), device=values.device), actions]
