"""What a training begins with, made from its settings: the description of the network, and the replay buffer."""

from typing import Any

import numpy as np

from ckptfmt.errors import CkptError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.format.safetensors import shape_text
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.replay import Replay

__all__ = ["make_model_config", "make_replay"]

_PIXELS = 255.0


def make_model_config(config: TrainConfig, env: Any) -> ModelConfig:
    """Return the description of the network that learns to play `env`; raise `CkptError` unless it gives images."""
    if len(env.observation_space.shape) != 3:
        shape = env.observation_space.shape
        raise CkptError(
            f"the environment {config.env} gives no images, its observations are {shape_text(shape)}, and the networks "
            "that are trained here see images",
            where="env",
            code="environment.unfit",
        )
    settings = config.to_dict()
    settings["n_steps"] = config.n_steps if config.n_step_learning else 1
    # Bytes are stored and moved as they are; the network itself brings them into 0 to 1.
    settings["input_scale"] = _PIXELS if env.observation_space.dtype == np.uint8 else 1.0
    settings["game"] = config.env
    return ModelConfig.from_training_config(settings, env)


def make_replay(config: TrainConfig, network: ModelConfig, dtype: Any) -> Replay:
    """Return an empty replay buffer for frames of `dtype`."""
    channels, height, width = network.input_shape
    return Replay(
        config.replay_size,
        (channels // config.frame_stack, height, width),
        frame_dtype=dtype,
        frame_stack=config.frame_stack,
        num_envs=config.num_envs,
        n_steps=network.n_steps,
        gamma=config.gamma,
        prioritized=config.prioritized_replay,
        alpha=config.replay_alpha,
        seed=config.seed,
    )
