"""Checkpoints of a Stable-Baselines3 DQN while it trains."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import stable_baselines3
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecFrameStack, VecMonitor, VecTransposeImage

from ckptfmt.errors import ConversionError, ManifestError
from ckptfmt.format.document import fields_of
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.description import describe_env, describe_remote
from ckptfmt.rl.integrations.adopt import Adopted, adopt
from ckptfmt.rl.integrations.periodic import PeriodicSaves
from ckptfmt.rl.integrations.sb3_state import resume, training_state
from ckptfmt.store.manager import CheckpointManager

__all__ = ["SaveCheckpoints", "describe_vec_env", "resume"]

_HYPERPARAMETERS = (
    "gamma",
    "batch_size",
    "buffer_size",
    "learning_starts",
    "tau",
    "gradient_steps",
    "target_update_interval",
    "exploration_initial_eps",
    "exploration_final_eps",
    "exploration_fraction",
    "max_grad_norm",
    "n_steps",
)
# They note returns, and put channels first, which every network of images here expects.
_NEUTRAL = (VecMonitor, VecTransposeImage)


class SaveCheckpoints(BaseCallback):
    """Save the Q-network of a DQN every `every` timesteps and at the end of `learn`.

    `saves` is a folder, or a `CheckpointManager` that says what is kept; its metric `reward` is the mean return
    of the last episodes. The network is stored under canonical names, shown to be the same before the first
    step is taken. One of no known family raises `ConversionError` then;
    with `keep_unknown` its weights are saved under their own names, without a config. Optimizer, target network,
    generators and counters are stored beside it, so that `resume` goes on from there; the replay buffer as
    `save_replay` says: "last" with the checkpoint at the end of `learn`, "always" or "never".
    """

    def __init__(
        self,
        saves: CheckpointManager | str | os.PathLike[str],
        *,
        every: int = 10_000,
        training_info: Mapping[str, Any] | None = None,
        keep_unknown: bool = False,
        save_replay: Literal["last", "always", "never"] = "last",
    ) -> None:
        super().__init__()
        self.save_replay = save_replay
        self.saves = PeriodicSaves(saves, every)
        self.training_info = dict(training_info or {})
        self.keep_unknown = keep_unknown
        self.adopted: Adopted | None = None
        self._environment: dict[str, Any] = {}

    def _init_callback(self) -> None:
        model = self.model
        if not isinstance(model, DQN):
            raise ConversionError(
                f"{type(model).__name__} is not DQN, and it has no Q-network",
                where="SaveCheckpoints",
                code="adopt.network",
            )
        environment = describe_vec_env(self.training_env)
        self._environment = environment.to_dict()
        steps = int(getattr(model, "n_steps", 1))
        settings = {"game": environment.id, "n_step_learning": steps > 1, "n_steps": steps}
        try:
            adopted = adopt(model.q_net, model)
            known = {name: value for name, value in settings.items() if name in fields_of(type(adopted.config))}
            self.adopted = replace(adopted, config=adopted.config.replace(**known))
        except (ConversionError, ManifestError):
            if not self.keep_unknown:
                raise

    def _on_training_start(self) -> None:
        self.saves.start(self.num_timesteps)

    def _on_step(self) -> bool:
        if self.saves.is_due(self.num_timesteps):
            self._save(replay=self.save_replay == "always")
        return True

    def _on_training_end(self) -> None:
        if self.saves.last != self.num_timesteps or self.save_replay == "last":
            self._save(replay=self.save_replay != "never")
        self.saves.finish()

    def _save(self, *, replay: bool) -> None:
        assert isinstance(self.model, DQN)
        config = self.adopted.config if self.adopted else None
        returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        self.saves.save(
            self.num_timesteps,
            self.adopted or self.model.q_net,
            config,
            self._info(self.model, returns),
            environment=self._environment,
            metrics={"reward": float(np.mean(returns))} if returns else {},
            state=training_state(self.model, replay=replay),
        )

    def _info(self, model: DQN, returns: list[float]) -> dict[str, Any]:
        hyperparameters = {name: getattr(model, name) for name in _HYPERPARAMETERS if hasattr(model, name)}
        return {
            "frame_idx": self.num_timesteps,
            "episode_idx": model._episode_num,
            "updates": model._n_updates,
            "return_mean": float(np.mean(returns)) if returns else None,
            "episodes_averaged": len(returns),
            "hyperparameters": {
                **hyperparameters,
                "learning_rate": model.lr_schedule(model._current_progress_remaining),
            },
            "seed": model.seed,
            "device_used": str(model.device),
            "trainer": f"stable-baselines3 {stable_baselines3.__version__}",
            **self.training_info,
        }


def describe_vec_env(env: VecEnv) -> Environment:
    """Return the description of the environments a Stable-Baselines3 model plays.

    Those in other processes are asked what they are wrapped in. What cannot be rebuilt stands in `wrappers`.
    """
    stack, others, padding = 1, [], None
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecFrameStack):
            stack *= env.stacked_obs.n_stack
            padding = "zero"
        elif not isinstance(env, _NEUTRAL):
            others.append(type(env).__name__)
        env = env.venv
    inner = getattr(env, "envs", None)
    found = describe_env(inner[0]) if inner else _describe_remote(env)
    return replace(
        found,
        frame_stack=found.frame_stack * stack,
        stack_padding=padding or found.stack_padding,
        wrappers=(*others, *found.wrappers),
    )


def _describe_remote(env: VecEnv) -> Environment:
    spec = env.get_attr("spec", 0)[0]
    if spec is None:
        return Environment(id="unknown", frame_stack=1, wrappers=(type(env).__name__,))
    # Only attributes that its wrappers have are asked for: any other ends the process.
    return describe_remote(spec, lambda name: env.get_attr(name, 0)[0])
