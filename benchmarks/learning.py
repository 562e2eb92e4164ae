"""Curves of learning, ours beside Stable-Baselines3's DQN: `python -m benchmarks.learning FOLDER [GAME ...]`.

Both have one network, one environment (ours, with its wrappers and seeds), one budget and one table of settings,
`GAMES`: a uniform replay buffer, Huber loss, Adam, gradients clipped to a norm of 10, a target network that is
copied, epsilon that falls in a straight line, truncated episodes that are bootstrapped. Seeds are 1 to 5 for both.
Two things are not equal: before `learning_starts` Stable-Baselines3 acts at random, where ours already follows
epsilon, which is at least 0.87 by then; and each draws from generators of its own.

Every `eval_every` steps the network plays `games` games greedily, by one function for both, whose seeds are the same
at every point, for both sides and for all seeds. CartPole-v1 and LunarLander-v3 have the network and the settings of
RL Baselines3 Zoo, but for fewer updates: one every 4 steps, where CartPole has 128 in a row every 256 and LunarLander
one every step, the latter with twice the batch. MinAtar's Breakout has the network of Young & Tian 2019, a
convolution of 16 channels and a layer of 128; `ckptfmt/Catch-v0` has the one of Mnih et al. 2015.

Each training runs in a process of its own, on one thread, and writes `GAME-SIDE-SEED.jsonl`, a line an evaluation;
those that are finished are not run again. On one core of 2.5 GHz all of it takes some two hours. It needs `pip
install -e ".[bench]" "gymnasium[box2d]" minatar`. `python -m benchmarks.learning FOLDER --draw docs/learning` makes
a picture of each game, and a file of its numbers, from what is finished by then.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chart import bands

SIDES = {"ckptfmt": "ckptfmt", "sb3": "Stable-Baselines3"}
SEEDS = (1, 2, 3, 4, 5)
# Far from the seeds of the trainings.
_FIRST_GAME = 50_000


@dataclass(frozen=True)
class Game:
    """What both sides are given: an environment, and settings by the names that they have in `TrainConfig`."""

    env: str
    settings: dict[str, Any]
    eval_every: int
    games: int
    # Greedy play in MinAtar's Breakout can go on for ever; the others end by themselves.
    most_steps: int = 1_000


_COMMON = {
    "epsilon_start": 1.0,
    "adam_eps": 1e-8,
    "max_grad_norm": 10.0,
    "gamma": 0.99,
    "clip_rewards": False,
    "train_every": 4,
}
_ZOO = {"hidden_size": 256, "hidden_layers": 2}
GAMES = {
    "cartpole": Game(
        "CartPole-v1",
        {
            **_COMMON,
            **_ZOO,
            "total_steps": 50_000,
            "learning_starts": 1_000,
            "target_every": 256,
            "batch_size": 64,
            "replay_size": 50_000,
            "learning_rate": 2.3e-3,
            "epsilon_end": 0.04,
            "epsilon_steps": 8_000,
        },
        eval_every=2_500,
        games=10,
    ),
    "catch": Game(
        "ckptfmt/Catch-v0",
        {
            **_COMMON,
            "hidden_size": 512,
            "encoder": "nature",
            "total_steps": 15_000,
            "learning_starts": 500,
            "target_every": 500,
            "batch_size": 32,
            "replay_size": 15_000,
            "learning_rate": 2.5e-4,
            "epsilon_end": 0.05,
            "epsilon_steps": 5_000,
        },
        eval_every=500,
        games=50,
    ),
    "lunarlander": Game(
        "LunarLander-v3",
        {
            **_COMMON,
            **_ZOO,
            "total_steps": 100_000,
            "learning_starts": 128,
            "target_every": 250,
            "batch_size": 64,
            "replay_size": 50_000,
            "learning_rate": 6.3e-4,
            "epsilon_end": 0.1,
            "epsilon_steps": 12_000,
        },
        eval_every=5_000,
        games=10,
    ),
    "breakout": Game(
        "MinAtar/Breakout-v1",
        {
            **_COMMON,
            "hidden_size": 128,
            "encoder": "minatar",
            "frame_stack": 1,
            "total_steps": 150_000,
            "learning_starts": 5_000,
            "target_every": 1_000,
            "batch_size": 32,
            "replay_size": 150_000,
            "learning_rate": 2.5e-4,
            "epsilon_end": 0.05,
            "epsilon_steps": 50_000,
        },
        eval_every=7_500,
        games=20,
    ),
}

Values = Callable[[Any], Any]


class _Curve:
    """The evaluations of one training, written line by line."""

    def __init__(self, path: Path, game: Game, seed: int) -> None:
        self._game, self._file = game, path.open("w", encoding="utf-8")
        self._envs = [_make(game, seed) for _ in range(game.games)]
        self._began = time.process_time()

    def add(self, step: int, values: Values) -> None:
        """Play, and write what came of it and the processor time of the training so far."""
        spent = time.process_time() - self._began
        returns = _play(self._envs, values, self._game.most_steps)
        line = {"step": step, "mean": float(np.mean(returns)), "returns": returns, "cpu_s": round(spent, 2)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        # Evaluations do not count.
        self._began = time.process_time() - spent


def _play(envs: list[Any], values: Values, most: int) -> list[float]:
    """Play one game in each environment, all at the same time: one pass of the network for those not yet over."""
    seen = [env.reset(seed=_FIRST_GAME + i)[0] for i, env in enumerate(envs)]
    returns, playing = [0.0] * len(envs), list(range(len(envs)))
    for _ in range(most):
        actions = values(np.stack([seen[i] for i in playing])).argmax(axis=1).tolist()
        for i, action in zip(tuple(playing), actions, strict=True):
            seen[i], reward, terminated, truncated, _ = envs[i].step(action)
            returns[i] += float(reward)
            if terminated or truncated:
                playing.remove(i)
        if not playing:
            break
    return returns


def train(name: str, side: str, seed: int, folder: Path, part: float = 1.0) -> None:
    """Train one side with one seed; of a `part` below 1 the budget is that part, to try it out."""
    import torch

    torch.set_num_threads(1)
    game = _part(GAMES[name], part)
    unfinished = folder / f"{name}-{side}-{seed}.part"
    {"ckptfmt": _train_ours, "sb3": _train_theirs}[side](game, seed, unfinished)
    unfinished.rename(unfinished.with_suffix(".jsonl"))


def _train_ours(game: Game, seed: int, path: Path) -> None:
    import torch

    from ckptfmt.rl.training.train import Trainer

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(_config(game, seed), folder)
        curve = _Curve(path, game, seed)

        def values(seen: Any) -> Any:
            with torch.no_grad():
                return trainer.learner.online.get_q_values(torch.from_numpy(seen)).numpy()

        total = game.settings["total_steps"]
        for step in range(game.eval_every, total + 1, game.eval_every):
            trainer.advance(step)
            curve.add(step, values)
        trainer.close()


def _train_theirs(game: Game, seed: int, path: Path) -> None:
    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback

    class Evaluate(BaseCallback):  # type: ignore[misc]
        def _on_step(self) -> bool:
            if self.num_timesteps % game.eval_every == 0:
                curve.add(self.num_timesteps, values)
            return True

    def values(seen: Any) -> Any:
        with torch.no_grad():
            return model.q_net(torch.from_numpy(seen)).numpy()

    settings = game.settings
    total = settings["total_steps"]
    same = ("batch_size", "learning_starts", "learning_rate", "gamma", "max_grad_norm")
    env = _make(game, seed)
    env.reset(seed=seed)
    model = DQN(
        "CnnPolicy" if len(env.observation_space.shape) == 3 else "MlpPolicy",
        env,
        **{name: settings[name] for name in same},
        buffer_size=settings["replay_size"],
        train_freq=settings["train_every"],
        gradient_steps=1,
        target_update_interval=settings["target_every"],
        exploration_fraction=settings["epsilon_steps"] / total,
        exploration_initial_eps=settings["epsilon_start"],
        exploration_final_eps=settings["epsilon_end"],
        policy_kwargs=_policy(settings),
        seed=seed,
        device="cpu",
    )
    curve = _Curve(path, game, seed)
    model.learn(total, callback=Evaluate())


def _policy(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what makes the network of Stable-Baselines3 the one that ours has."""
    import torch
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
    from torch import nn

    class Convolution(BaseFeaturesExtractor):  # type: ignore[misc]
        def __init__(self, observation_space: Any, features_dim: int) -> None:
            super().__init__(observation_space, features_dim)
            channels, height, width = observation_space.shape
            flat = 16 * (height - 2) * (width - 2)
            convolution = nn.Sequential(nn.Conv2d(channels, 16, 3), nn.ReLU(), nn.Flatten())
            self.layers = nn.Sequential(*convolution, nn.Linear(flat, features_dim), nn.ReLU())

        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            return self.layers(observations)  # type: ignore[no-any-return]

    width, optimizer = settings["hidden_size"], {"optimizer_kwargs": {"eps": settings["adam_eps"]}}
    if "encoder" not in settings:
        return {**optimizer, "net_arch": [width] * settings["hidden_layers"]}
    encoder = {"nature": NatureCNN, "minatar": Convolution}[settings["encoder"]]
    extractor = {"features_extractor_class": encoder, "features_extractor_kwargs": {"features_dim": width}}
    return {**optimizer, **extractor, "net_arch": [], "normalize_images": settings["encoder"] == "nature"}


def _config(game: Game, seed: int) -> Any:
    from ckptfmt.rl.training.config import TrainConfig

    _register()
    never = 2**40
    quiet: dict[str, Any] = {"tensorboard": False, "eval_every": never, "save_every": never, "log_every": never}
    return TrainConfig(env=game.env, seed=seed, device="cpu", threads=1, **game.settings, **quiet)


def _make(game: Game, seed: int) -> Any:
    """Return the environment that our trainer makes for itself."""
    from ckptfmt.rl.envs.make import make_env

    return make_env(_config(game, seed).environment)


def _register() -> None:
    import gymnasium

    if "MinAtar/Breakout-v1" not in gymnasium.registry:
        import minatar.gym

        minatar.gym.register_envs()


def _part(game: Game, part: float) -> Game:
    if part == 1:
        return game
    counts = ("total_steps", "learning_starts", "epsilon_steps", "replay_size")
    settings = {**game.settings, **{name: max(1, int(game.settings[name] * part)) for name in counts}}
    return Game(game.env, settings, max(1, int(game.eval_every * part)), 2, 50)


def draw(folder: Path, target: Path) -> None:
    """Write a picture and the numbers of each game of which both sides have finished seeds."""
    target.mkdir(parents=True, exist_ok=True)
    for name, game in GAMES.items():
        found = {side: _finished(folder, name, side) for side in SIDES}
        if not all(found.values()):
            continue
        lines = {f"{SIDES[side]}, {len(seeds)} seeds": _band(seeds) for side, seeds in found.items()}
        picture = bands(game.env, ("steps", f"mean return of {game.games} games"), lines)
        (target / f"{name}.svg").write_text(picture, encoding="utf-8")
        means = {
            side: {seed: [point["mean"] for point in seeds[seed]] for seed in seeds} for side, seeds in found.items()
        }
        numbers = {"env": game.env, "eval_every": game.eval_every, "games": game.games, "settings": game.settings}
        (target / f"{name}.json").write_text(json.dumps({**numbers, "means": means}) + "\n", encoding="utf-8")


def _finished(folder: Path, name: str, side: str) -> dict[int, list[dict[str, Any]]]:
    paths = {seed: folder / f"{name}-{side}-{seed}.jsonl" for seed in SEEDS}
    there = {seed: path.read_text(encoding="utf-8").splitlines() for seed, path in paths.items() if path.exists()}
    return {seed: [json.loads(line) for line in lines] for seed, lines in there.items()}


def _band(seeds: dict[int, list[dict[str, Any]]]) -> list[tuple[float, float, float, float]]:
    """Return step, lowest, mean and highest over the seeds."""
    band = []
    for points in zip(*seeds.values(), strict=True):
        means = [point["mean"] for point in points]
        band.append((points[0]["step"], min(means), sum(means) / len(means), max(means)))
    return band


def main() -> None:
    """Run what is not finished, game by game, seed by seed, both sides in turns; or draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=(__doc__ or "").split(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("games", nargs="*", default=[], choices=[[], *GAMES])
    parser.add_argument("--draw", type=Path)
    parser.add_argument("--part", type=float, default=1.0, help="part of the budgets, to try it out")
    parser.add_argument("--only", nargs=2, metavar=("SIDE", "SEED"), help="one training of one game, in this process")
    given = parser.parse_args()
    if given.draw:
        draw(given.folder, given.draw)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.only:
        train(given.games[0], given.only[0], int(given.only[1]), given.folder, given.part)
        return
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name in given.games or GAMES:
        for seed in SEEDS:
            for side in SIDES:
                if (given.folder / f"{name}-{side}-{seed}.jsonl").exists():
                    continue
                words = [given.folder, name, "--part", given.part, "--only", side, seed]
                command = [sys.executable, "-m", "benchmarks.learning", *map(str, words)]
                subprocess.run(command, check=True, env=one_thread)


if __name__ == "__main__":
    main()
