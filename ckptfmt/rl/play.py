"""Play episodes with a network, and what came of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ckptfmt.rl.envs.description import Env

__all__ = ["Episode", "Evaluation", "evaluate", "play_episodes"]


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode: the sum of its rewards, how many actions it took, the seed it began with."""

    total: float
    steps: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the episode as plain data."""
        return {"return": self.total, "steps": self.steps, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Episodes, and how they were played: `epsilon` is the share of random actions."""

    episodes: tuple[Episode, ...]
    epsilon: float = 0.0
    max_steps: int | None = None

    @property
    def mean(self) -> float:
        """Return the mean of the returns."""
        return float(np.mean([episode.total for episode in self.episodes]))

    @property
    def std(self) -> float:
        """Return the standard deviation of the returns over these episodes."""
        return float(np.std([episode.total for episode in self.episodes]))

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as it stands in the manifest."""
        return {
            "mean": self.mean,
            "std": self.std,
            "protocol": {"epsilon": self.epsilon, "max_steps": self.max_steps},
            "episodes": [episode.to_dict() for episode in self.episodes],
        }


def evaluate(
    model: nn.Module, env: Env, *, episodes: int, seed: int = 0, epsilon: float = 0.0, max_steps: int | None = None
) -> Evaluation:
    """Play `episodes` episodes without learning; the same weights, environment and seed give the same returns."""
    played = play_episodes(model, env, episodes=episodes, seed=seed, epsilon=epsilon, max_steps=max_steps)
    return Evaluation(tuple(played), epsilon, max_steps)


def play_episodes(
    model: nn.Module,
    env: Env,
    *,
    episodes: int,
    seed: int = 0,
    epsilon: float = 0.0,
    max_steps: int | None = None,
    scale: float = 1.0,
    on_step: Callable[[], None] | None = None,
) -> Iterator[Episode]:
    """Yield each episode once it is over; episode i begins with the seed `seed + i`.

    The network chooses greedily and in eval mode, its mode is put back afterwards. Observations are divided by
    `scale` first. `on_step` is called behind every reset and step, to render or record.
    """
    was_training = model.training
    model.eval()
    try:
        for number in range(episodes):
            yield _play(model, env, seed + number, epsilon, max_steps, scale, on_step or _nothing)
    finally:
        model.train(was_training)


def _play(
    model: nn.Module,
    env: Env,
    seed: int,
    epsilon: float,
    max_steps: int | None,
    scale: float,
    on_step: Callable[[], None],
) -> Episode:
    rng = np.random.Generator(np.random.PCG64(seed))
    device = next(model.parameters()).device
    observation, _ = env.reset(seed=seed)
    on_step()
    total, steps, over = 0.0, 0, False
    while not over and (max_steps is None or steps < max_steps):
        if epsilon and rng.random() < epsilon:
            action = int(rng.integers(env.action_space.n))  # type: ignore[attr-defined]
        else:
            action = greedy_action(model, observation, device, scale)
        observation, reward, terminated, truncated, _ = env.step(action)
        on_step()
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    return Episode(total, steps, seed)


@torch.no_grad()
def greedy_action(model: nn.Module, observation: Any, device: torch.device, scale: float = 1.0) -> int:
    """Return the action of the highest Q-value for one observation (channels, height, width)."""
    frames = torch.from_numpy(np.asarray(observation)).to(device).unsqueeze(0)
    frames = frames if scale == 1 else frames / scale
    values = model.get_q_values(frames)  # type: ignore[operator]
    return int(values.argmax(dim=1))


def _nothing() -> None:
    """Stand in for a callback that nobody asked for."""
