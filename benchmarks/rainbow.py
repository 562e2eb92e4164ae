"""Rainbow as one file writes it, after CleanRL's: noisy weights are put together, both streams are distributions.

The replay buffer is cpprb's, which is faster than a sum tree written in Python.
"""

import copy
import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["RainbowLoop"]

_ACTIONS, _ATOMS, _V_MAX = 6, 51, 10.0
_GAMMA, _STEPS = 0.99, 3


class _Noisy(nn.Module):
    """A noisy linear layer whose weights are formed anew in every pass."""

    epsilon: Tensor
    bias_epsilon: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.mean = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.sigma = nn.Parameter(torch.full((outputs, inputs), bound / 2))
        self.bias_mean = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), bound / 2))
        self.register_buffer("epsilon", torch.empty(outputs, inputs))
        self.register_buffer("bias_epsilon", torch.empty(outputs))
        self.reset()

    def reset(self) -> None:
        outputs, inputs = self.epsilon.shape
        one, other = (noise.sign() * noise.abs().sqrt() for noise in (torch.randn(inputs), torch.randn(outputs)))
        self.epsilon.copy_(other.outer(one))
        self.bias_epsilon.copy_(other)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.mean + self.sigma * self.epsilon
        return functional.linear(x, weight, self.bias_mean + self.bias_sigma * self.bias_epsilon)


class _Network(nn.Module):
    """Probabilities (batch, actions, atoms) of frames."""

    support: Tensor

    def __init__(self) -> None:
        super().__init__()
        convolutions = (nn.Conv2d(4, 32, 8, 4), nn.Conv2d(32, 64, 4, 2), nn.Conv2d(64, 64, 3, 1))
        self.trunk = nn.Sequential(*(layer for conv in convolutions for layer in (conv, nn.ReLU())), nn.Flatten())
        self.value = nn.Sequential(_Noisy(3136, 512), nn.ReLU(), _Noisy(512, _ATOMS))
        self.advantage = nn.Sequential(_Noisy(3136, 512), nn.ReLU(), _Noisy(512, _ATOMS * _ACTIONS))
        self.register_buffer("support", torch.linspace(-_V_MAX, _V_MAX, _ATOMS))

    def forward(self, x: Tensor) -> Tensor:
        features = self.trunk(x / 255.0)
        value = self.value(features).view(-1, 1, _ATOMS)
        advantage = self.advantage(features).view(-1, _ACTIONS, _ATOMS)
        return (value + advantage - advantage.mean(dim=1, keepdim=True)).softmax(dim=2)

    def reset(self) -> None:
        for layer in self.modules():
            if isinstance(layer, _Noisy):
                layer.reset()


class RainbowLoop:
    """Draws by priority and updates; its buffer is full of noise."""

    def __init__(self, frames: int, batch: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import cpprb
        self.network, self.batch = _Network(), batch
        self.target = copy.deepcopy(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=6.25e-5, eps=1.5e-4)
        stack: dict[str, Any] = {"shape": (4, 84, 84), "dtype": np.uint8}
        fields = {"obs": stack, "next_obs": stack, "act": {"dtype": np.int64}, "rew": {}, "done": {}}
        self.buffer = cpprb.PrioritizedReplayBuffer(frames, fields, alpha=0.5)
        rng = np.random.default_rng(1)
        for _ in range(frames):
            before, after = rng.integers(256, size=(2, 4, 84, 84), dtype=np.uint8)
            self.buffer.add(obs=before, next_obs=after, act=rng.integers(_ACTIONS), rew=0.0, done=0.0)

    def learn(self, updates: int) -> None:
        """Draw and update."""
        for _ in range(updates):
            drawn = self.buffer.sample(self.batch, beta=0.4)
            given = {
                name: torch.from_numpy(drawn[name]) for name in ("obs", "next_obs", "act", "rew", "done", "weights")
            }
            self.network.reset()
            self.target.reset()
            wanted = self._wanted(given["next_obs"].float(), given["rew"], given["done"])
            rows = torch.arange(self.batch)
            said = self.network(given["obs"].float())[rows, given["act"].flatten()]
            losses = -(wanted * said.clamp(1e-5, 1 - 1e-5).log()).sum(dim=1)
            loss = (losses * given["weights"]).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.buffer.update_priorities(drawn["indexes"], losses.detach().numpy() + 1e-6)

    @torch.no_grad()
    def _wanted(self, seen: Tensor, rewards: Tensor, done: Tensor) -> Tensor:
        """Return the projected distribution behind the action that the online network finds best."""
        support, rows = self.network.support, torch.arange(self.batch)
        best = (self.network(seen) * support).sum(dim=2).argmax(dim=1)
        chances = self.target(seen)[rows, best]
        place = (rewards + _GAMMA**_STEPS * support * (1 - done)).clamp(-_V_MAX, _V_MAX)
        place = (place + _V_MAX) / (2 * _V_MAX / (_ATOMS - 1))
        low, high = place.floor().long(), place.ceil().long()
        upper = chances * (place - low)
        wanted = torch.zeros(self.batch, _ATOMS)
        wanted.scatter_add_(1, low, chances - upper)
        return wanted.scatter_add_(1, high, upper)
