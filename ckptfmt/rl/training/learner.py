"""One gradient step of deep Q-learning: targets, losses, the update."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.record import record
from ckptfmt.rl.device import send
from ckptfmt.rl.families.noisy import NoisyLinear
from ckptfmt.rl.training.batch import Batch
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.quantiles import middles, quantile_losses
from ckptfmt.rl.training.team import Team

__all__ = ["Learner", "noisy_layers", "project"]

# Measured with four encoders: at 84×84 pixels 1.0 to 1.8 times as fast, below 50 as often slower.
_LARGE = 64


@record
class _Tensors:
    """A batch on the device of the network."""

    observations: Tensor
    actions: Tensor
    returns: Tensor
    next_observations: Tensor
    discounts: Tensor
    weights: Tensor


class Learner:
    """The online network, its slowly following target network (Mnih et al. 2015), and the optimizer.

    The network is of a family of action values: it has `get_q_values`, and `probabilities` or quantiles where its
    settings ask for a distribution. Of several processes each learns from a batch of its own, by the mean gradient.
    """

    def __init__(self, online: Any, config: TrainConfig, team: Team | None = None) -> None:
        self.config, self._team = config, team or Team()
        self.device = next(online.parameters()).device
        self.target = copy.deepcopy(online).train().requires_grad_(False)
        if _puts_channels_last(config, online.config.input_shape, self.device):
            online = online.to(memory_format=torch.channels_last)
        self.online = online.train()
        # Looking through a network for its layers costs as much as a small one computes.
        self._parameters = [*self.online.parameters()]
        self._noisy = [noisy_layers(network) for network in (self.online, self.target)]
        # One kernel for all parameters: with networks this small the calls cost more than the arithmetic.
        fused = self.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(
            online.parameters(), lr=config.learning_rate, eps=config.adam_eps, fused=fused
        )
        self._compute = self._compiled() if config.compile else self._losses

    def update(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Take one step; return the loss and each transition's error, by which it is drawn again.

        They lie on the device, which may still be computing them: whoever asks for their values waits for it.
        """
        tensors = self._tensors(batch)
        # Fortunato et al. 2018: each network draws its own noise for every update.
        self._draw_noise(*self._noisy)
        with self._precision():
            losses, errors = self._compute(tensors)
        loss = (losses * tensors.weights).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._team.average(self._parameters)
        self._clip()
        self.optimizer.step()
        return loss.detach(), errors

    @torch.inference_mode()
    def best_actions(self, observations: NDArray[Any]) -> list[int]:
        """Return the action of the highest value for each observation of a batch, in one pass, under new noise."""
        self._draw_noise(self._noisy[0])
        with self._precision():
            values = self.online.get_q_values(send(observations, self.device))
        best: list[int] = values.argmax(dim=1).tolist()
        return best

    def apply_settings(self) -> None:
        """Let the optimizer use the settings: a state that it took over brings those it was saved with."""
        for group in self.optimizer.param_groups:
            group["lr"], group["eps"] = self.config.learning_rate, self.config.adam_eps

    def sync_target(self) -> None:
        """Copy the online network into the target network."""
        self.target.load_state_dict(self.online.state_dict())

    def _draw_noise(self, *layers: list[NoisyLinear]) -> None:
        for layer in chain.from_iterable(layers):
            layer.reset_noise()

    def _clip(self) -> None:
        """Bring the norm of the gradients down to its limit."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        # Most are below it, and on a CPU to look costs less than to multiply them all by one.
        if self.device.type != "cpu" or not self.config.max_grad_norm / (norm + 1e-6) >= 1:
            nn.utils.clip_grads_with_norm_(self._parameters, self.config.max_grad_norm, norm)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.config.precision))

    def _tensors(self, batch: Batch) -> _Tensors:
        parts = {name: getattr(batch, name) for name in _Tensors.__dataclass_fields__}
        return _Tensors(
            **{name: part if isinstance(part, Tensor) else send(part, self.device) for name, part in parts.items()}
        )

    def _compiled(self) -> Callable[[_Tensors], tuple[Tensor, Tensor]]:
        """Return the losses compiled, which they are when they are first computed, and then those of `backward`."""
        # On a GPU that mode records what was compiled as CUDA graphs, which are launched at once.
        mode = "reduce-overhead" if self.device.type == "cuda" else None
        compiled = torch.compile(self._losses, mode=mode)

        def compute(batch: _Tensors) -> tuple[Tensor, Tensor]:
            try:
                return compiled(batch)
            except Exception as e:
                # Each part of torch's compiler has errors of its own; what a network raises is not among them.
                if not type(e).__module__.startswith(("torch._dynamo", "torch._inductor")):
                    raise
                reason = printable(str(e).partition("\n")[0], 200)
                fix = "install what it needs, such as a C++ compiler, or train without compile"
                raise CkptError(
                    f"torch cannot compile the losses: {reason}", where="training", fix=fix, code="train.compile"
                ) from e

        return compute

    def _losses(self, batch: _Tensors) -> tuple[Tensor, Tensor]:
        """Return a loss and an error for each transition."""
        if self.config.distributional_dqn:
            # First, as below: under autocast weights that were cast without a gradient are used again without one.
            logs = self.online.log_probabilities(batch.observations).float()
            target = self._target_distribution(batch)
            losses = -(target * _chosen(logs, batch.actions)).sum(dim=1)
            return losses, losses.detach()
        if self.config.quantile_dqn or self.config.implicit_quantile_dqn:
            quantiles, fractions = self._quantiles(self.online, batch.observations)
            target = self._target_quantiles(batch)
            losses = quantile_losses(_chosen(quantiles, batch.actions), fractions, target)
            return losses, losses.detach()
        values = _chosen(self.online.get_q_values(batch.observations).float(), batch.actions)
        target = self._target_value(batch)
        return functional.smooth_l1_loss(values, target, reduction="none"), (values - target).detach()

    @torch.no_grad()
    def _target_value(self, batch: _Tensors) -> Tensor:
        """Return the TD target: returns + discount * Q_target(next, best action there)."""
        values = self.target.get_q_values(batch.next_observations).float()
        return batch.returns + batch.discounts * _chosen(values, self._best_actions(batch, values))

    @torch.no_grad()
    def _target_distribution(self, batch: _Tensors) -> Tensor:
        """Return the projected distribution of returns + discount * Z (Bellemare et al. 2017, algorithm 1)."""
        probabilities = self.target.probabilities(batch.next_observations).float()
        values = (probabilities * self.target.support).sum(dim=2)
        best = _chosen(probabilities, self._best_actions(batch, values))
        atoms = batch.returns[:, None] + batch.discounts[:, None] * self.target.support
        return project(best, atoms, self.target.support)

    @torch.no_grad()
    def _target_quantiles(self, batch: _Tensors) -> Tensor:
        """Return samples (batch, n) of returns + discount * Z(next, best action there)."""
        quantiles, _ = self._quantiles(self.target, batch.next_observations)
        best = _chosen(quantiles, self._best_actions(batch, quantiles.mean(dim=2)))
        return batch.returns[:, None] + batch.discounts[:, None] * best

    def _quantiles(self, network: Any, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return quantiles (batch, n_action, n) and their fractions: fixed ones (n,), or some drawn for each."""
        if self.config.quantile_dqn:
            quantiles = network(observations).float()
            return quantiles, middles(quantiles.shape[2], self.device)
        fractions = torch.rand(len(observations), self.config.quantiles, device=self.device)
        return network.at(observations, fractions).float(), fractions

    def _best_actions(self, batch: _Tensors, target_values: Tensor) -> Tensor:
        """Double Q-learning lets the online network choose the action that the target network values."""
        if not self.config.double_dqn:
            return target_values.argmax(dim=1)
        best: Tensor = self.online.get_q_values(batch.next_observations).argmax(dim=1)
        return best


def project(probabilities: Tensor, atoms: Tensor, support: Tensor) -> Tensor:
    """Share out probabilities (batch, n_atoms) at `atoms` (batch, n_atoms) over the evenly spaced `support`."""
    spacing = (support[-1] - support[0]) / (len(support) - 1)
    place = (atoms.clamp(support[0], support[-1]) - support[0]) / spacing
    # An atom of weight |1 - distance| at each point of the support within one spacing of it.
    distance = (place[:, :, None] - torch.arange(len(support), device=support.device)).abs()
    return ((1 - distance).clamp(min=0) * probabilities[:, :, None]).sum(dim=1)


def _puts_channels_last(config: TrainConfig, seen: tuple[int, ...], device: torch.device) -> bool:
    """Return whether convolutions compute with the channels last, which pays on a CPU unless images are small."""
    if config.channels_last is not None:
        return config.channels_last
    return device.type == "cpu" and len(seen) == 3 and min(seen[1:]) >= _LARGE


def noisy_layers(network: nn.Module) -> list[NoisyLinear]:
    """Return the noisy layers of a network."""
    return [layer for layer in network.modules() if isinstance(layer, NoisyLinear)]


def _chosen(values: Tensor, actions: Tensor) -> Tensor:
    """Return for each row of (batch, n_action, ...) what belongs to its action."""
    return values[torch.arange(len(actions), device=values.device), actions]
