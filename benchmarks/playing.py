"""Row 18: acting and learning of the reference trainer: `python -m benchmarks.playing FOLDER ROUNDS STEPS UPDATES`.

Beside it a loop as CleanRL writes one, and Stable-Baselines3: the same network, batch, wrappers' work and game, one
thread. Acting is greedy and learns nothing, learning draws and updates without a step between.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.bench import Bench, Row
from benchmarks.measure import Comparison, Result, compare, timed

__all__ = ["ROWS"]

_BATCH, _FRAMES, _GAME = 32, 4_000, "ALE/Pong-v5"
_ENVIRONMENTS = 8
_GOAL = 1 / 1.5


def _playing(bench: Bench) -> list[Result]:
    sizes = (bench.rounds(7), bench.size(300, 4), bench.size(60, 1))
    found = bench.inside("playing", bench.folder, *map(str, sizes))
    return [
        Result.of(18, "acting in Pong, one thread", "a loop as CleanRL's", _GOAL, found["act_cleanrl"]),
        Result.of(18, "acting in Pong, one thread", "Stable-Baselines3", _GOAL, found["act_sb3"]),
        Result.of(18, "updates of batches of 32, one thread", "a loop as CleanRL's", _GOAL, found["learn_cleanrl"]),
        Result.of(18, "updates of batches of 32, one thread", "Stable-Baselines3", _GOAL, found["learn_sb3"]),
        Result.of(
            18,
            f"a step, {_ENVIRONMENTS} environments in 2 processes",
            "a step, one environment",
            1 / 2.5,
            found["act_many"],
        ),
        Result.of(18, "updates of Rainbow, one thread", "a loop as CleanRL's", _GOAL, found["rainbow"]),
    ]


ROWS = (Row(18, _playing),)


def playing(folder: str, rounds: int, steps: int, updates: int) -> dict[str, Comparison]:
    """Return the comparisons by name; each side has played the same number of frames before."""
    import torch

    torch.set_num_threads(1)
    from benchmarks.rainbow import RainbowLoop
    from ckptfmt.rl.training.presets import TECHNIQUES

    ours, many, rainbow = _ours(folder, 1), _ours(folder, _ENVIRONMENTS), _ours(folder, 1, **TECHNIQUES)
    cleanrl, sb3, other_rainbow = _Loop(), _baselines(steps), RainbowLoop(_FRAMES // 4, _BATCH)

    def act(trainer: Any, count: int) -> Callable[[], None]:
        return lambda: trainer.advance(trainer.step + count)

    def learn(trainer: Any) -> Callable[[], None]:
        def go_on() -> None:
            for _ in range(updates):
                trainer._learn()

        return go_on

    work: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "act_cleanrl": (act(ours, steps), lambda: cleanrl.act(steps)),
        "act_sb3": (act(ours, steps), lambda: sb3.learn(steps, reset_num_timesteps=False)),
        "learn_cleanrl": (learn(ours), lambda: cleanrl.learn(updates)),
        "learn_sb3": (learn(ours), lambda: sb3.train(updates, _BATCH)),
        "act_many": (act(many, steps), act(ours, steps)),
        "rainbow": (learn(rainbow), lambda: other_rainbow.learn(updates)),
    }
    ours.advance(_FRAMES // 20)
    rainbow.advance(_FRAMES // 20)
    cleanrl.act(_FRAMES // 20)
    sb3.learn(_FRAMES // 20)
    found = {
        name: compare(lambda a=mine: timed(a), lambda b=theirs: timed(b), rounds)  # type: ignore[misc]
        for name, (mine, theirs) in work.items()
    }
    for trainer in (ours, many, rainbow):
        trainer.close()
    return found


def _ours(folder: str, num_envs: int, **techniques: bool) -> Any:
    from ckptfmt.rl.training.config import TrainConfig
    from ckptfmt.rl.training.train import Trainer

    never = 2**40
    config = TrainConfig(
        env=_GAME,
        num_envs=num_envs,
        env_processes=0 if num_envs == 1 else 2,
        sticky_actions=0.0,
        replay_size=_FRAMES,
        batch_size=_BATCH,
        learning_starts=_FRAMES // 2,
        train_every=never,
        target_every=never,
        total_steps=never,
        epsilon_start=0.0,
        epsilon_end=0.0,
        eval_every=never,
        log_every=never,
        save_every=never,
        tensorboard=False,
        device="cpu",
        **techniques,
    )
    return Trainer(config, os.path.join(folder, f"run-{num_envs}"))


def _game() -> Any:
    """Return a game in the wrappers that CleanRL and Stable-Baselines3 share."""
    import ale_py
    import gymnasium
    from stable_baselines3.common.atari_wrappers import AtariWrapper
    from stable_baselines3.common.monitor import Monitor

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    gymnasium.register_envs(ale_py)
    game = gymnasium.make(_GAME, frameskip=1, repeat_action_probability=0.0)
    return AtariWrapper(Monitor(game), terminal_on_life_loss=False)


def _baselines(steps: int) -> Any:
    from stable_baselines3 import DQN
    from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

    envs = VecFrameStack(DummyVecEnv([_game]), 4)
    return DQN(
        "CnnPolicy",
        envs,
        buffer_size=_FRAMES,
        batch_size=_BATCH,
        learning_starts=0,
        train_freq=steps,
        gradient_steps=0,
        exploration_initial_eps=0.0,
        exploration_final_eps=0.0,
        device="cpu",
    )


class _Loop:
    """A DQN as one file writes it: one environment, a buffer of whole stacks, squared errors."""

    def __init__(self) -> None:
        import copy

        import torch
        from stable_baselines3.common.buffers import ReplayBuffer
        from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecTransposeImage
        from torch import nn

        self.envs = VecTransposeImage(VecFrameStack(DummyVecEnv([_game]), 4))
        self.network = nn.Sequential(
            nn.Conv2d(4, 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3136, 512),
            nn.ReLU(),
            nn.Linear(512, 6),
        )
        self.target = copy.deepcopy(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        spaces = (self.envs.observation_space, self.envs.action_space)
        self.buffer = ReplayBuffer(
            _FRAMES, *spaces, "cpu", optimize_memory_usage=True, handle_timeout_termination=False
        )
        self.seen = self.envs.reset()

    def act(self, steps: int) -> None:
        """Take steps by the best action, and keep them."""
        import torch

        for _ in range(steps):
            values = self.network(torch.Tensor(self.seen) / 255.0)
            actions = torch.argmax(values, dim=1).numpy()
            after, rewards, done, infos = self.envs.step(actions)
            self.buffer.add(self.seen, after, actions, rewards, done, infos)
            self.seen = after

    def learn(self, updates: int) -> None:
        """Draw and update."""
        import torch
        from torch.nn import functional

        for _ in range(updates):
            data = self.buffer.sample(_BATCH)
            with torch.no_grad():
                best, _ = self.target(data.next_observations / 255.0).max(dim=1)
                wanted = data.rewards.flatten() + 0.99 * best * (1 - data.dones.flatten())
            values = self.network(data.observations / 255.0).gather(1, data.actions).squeeze()
            loss = functional.mse_loss(wanted, values)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


if __name__ == "__main__":
    _found = playing(sys.argv[1], *map(int, sys.argv[2:]))
    json.dump({name: asdict(both) for name, both in _found.items()}, sys.stdout)
