"""Play episodes with a network, and what came of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from typing import Protocol as Interface

import numpy as np
from torch import Tensor, nn

from ckptfmt.format.record import record
from ckptfmt.rl.acting import Action, Actor, explores
from ckptfmt.rl.envs.atari import EpisodicLife
from ckptfmt.rl.envs.description import layers
from ckptfmt.rl.envs.make import Env
from ckptfmt.rl.envs.played import begin, step
from ckptfmt.rl.protocol import Protocol

__all__ = ["Episode", "Evaluation", "Watcher", "evaluate", "play_episodes"]


class Watcher(Interface):
    """Follows a game step by step; what it raises ends the game."""

    def chose(self, observation: Any, action: Action, outputs: Mapping[str, Tensor], seed: int) -> None:
        """Be told what the network was shown, says and does, in the episode that began with `seed`."""

    def got(self, reward: float) -> None:
        """Be told what came of it."""


@record
class Episode:
    """One episode: the sum of its rewards, how many actions it took, the seed it began with."""

    total: float
    steps: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the episode as plain data."""
        return {"return": self.total, "steps": self.steps, "seed": self.seed}


@record
class Evaluation:
    """Episodes, and the protocol they were played by."""

    episodes: tuple[Episode, ...]
    protocol: Protocol

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
            "protocol": self.protocol.to_dict(),
            "episodes": [episode.to_dict() for episode in self.episodes],
        }


def evaluate(
    model: nn.Module,
    env: Env,
    protocol: Protocol,
    *,
    episodes: int,
    seed: int = 0,
    frame_skip: int = 1,
    on_step: Callable[[], None] | None = None,
) -> Evaluation:
    """Play `episodes` episodes without learning; the same weights, environment and seed give the same returns.

    What `on_step` raises ends the evaluation.
    """
    played = play_episodes(model, env, protocol, episodes=episodes, seed=seed, frame_skip=frame_skip, on_step=on_step)
    return Evaluation(tuple(played), protocol)


def play_episodes(
    model: nn.Module,
    env: Env,
    protocol: Protocol,
    *,
    episodes: int,
    seed: int = 0,
    frame_skip: int = 1,
    on_step: Callable[[], None] | None = None,
    watcher: Watcher | None = None,
) -> Iterator[Episode]:
    """Yield each episode once it is over; episode i begins with the seed `seed + i`.

    The network is in eval mode, its mode is put back afterwards. An action of it lasts
    `frame_skip` frames. `on_step` is called behind every reset and step, to render or record; a `watcher` before
    and behind every step.
    """
    was_training = model.training
    model.eval()
    try:
        for number in range(episodes):
            game = _Game(env, seed + number, protocol.whole_games, on_step or _nothing)
            yield _play(model, game, protocol, protocol.steps(frame_skip), watcher)
    finally:
        model.train(was_training)


class _Game:
    """One episode of an environment, in which the lives of a game may be episodes by themselves."""

    def __init__(self, env: Env, seed: int, whole: bool, on_step: Callable[[], None]) -> None:
        self.env, self.seed, self.on_step = env, seed, on_step
        self._lives = next((layer for layer in layers(env) if isinstance(layer, EpisodicLife)), None) if whole else None
        self.observation = begin(env, seed)
        self.over = False
        on_step()

    def step(self, action: Action) -> float:
        """Take a step and return its reward; where a life ended and the game did not, the next life begins."""
        self.observation, reward, terminated, truncated = step(self.env, action)
        self.over = terminated or truncated
        self.on_step()
        if self.over and self._lives is not None and not self._lives.game_over:
            game = self._lives.games
            self.observation = begin(self.env)
            # The last life can end in the step with which its next one begins.
            self.over = self._lives.games > game
            self.on_step()
        return reward


def _play(model: nn.Module, game: _Game, protocol: Protocol, max_steps: int | None, watcher: Watcher | None) -> Episode:
    # A generator for each episode: what one draws does not change the next.
    rng = np.random.Generator(np.random.PCG64(game.seed))
    actor = Actor(model, game.env.action_space, rng, sampled=protocol.sampled)
    epsilon = protocol.chance(explores(model))
    total, steps = 0.0, 0
    while not game.over and (max_steps is None or steps < max_steps):
        at_random = bool(epsilon) and rng.random() < epsilon
        # A network that remembers must see what it does not decide.
        if watcher is not None or (at_random and actor.remembers):
            outputs = actor.see(game.observation)
            action = actor.at_random() if at_random else actor.choose(outputs)
        else:
            action, outputs = actor.at_random() if at_random else actor.act(game.observation), {}
        if watcher is not None:
            watcher.chose(game.observation, action, outputs, game.seed)
        reward = game.step(action)
        if watcher is not None:
            watcher.got(reward)
        total, steps = total + reward, steps + 1
    return Episode(total, steps, game.seed)


def _nothing() -> None:
    """Stand in for a callback that nobody asked for."""
