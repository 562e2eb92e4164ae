"""What a training begins with, made from its settings: games, the description of the network, the replay buffer."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.blocks import Body, Convs, Mlp, Residual
from ckptfmt.families.encoder import ENCODERS, Conv
from ckptfmt.families.implicit_quantile_q import ImplicitQuantileConfig
from ckptfmt.families.q_network import QConfig
from ckptfmt.families.quantile_q import QuantileQConfig
from ckptfmt.families.spaces import spaces_of
from ckptfmt.rl.envs.make import make_env, refuse_imports
from ckptfmt.rl.envs.played import Played, play
from ckptfmt.rl.envs.remote import RemoteEnv, make_remote, play_remotely
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.frames import fits
from ckptfmt.rl.training.replay import Replay

__all__ = ["Described", "describe_network", "is_block", "make_games", "make_model_config", "make_replay", "play_all"]

# Pixels are bytes: divided by 255 they lie in 0 to 1.
_PIXELS = 255.0
# Espeholt et al. 2018: the channels of the three stages. Dabney et al. 2018: cosines, and fractions of an action.
_IMPALA = (16, 32, 32)
_COSINES, _FRACTIONS = 64, 32
# Young & Tian 2019: for what is 10×10 and has no pixels to be shrunk.
_MINATAR = (Conv(channels=16, kernel=(3, 3), stride=(1, 1)),)

# What a trainer's network is described by.
Described = ModelConfig | QConfig | QuantileQConfig | ImplicitQuantileConfig


def make_games(config: TrainConfig, *, trusted: bool) -> list[Any]:
    """Return the environments of a training, in this process or in others; raise as `make_env`."""
    # Before its description is asked for: where nobody says how many frames are stacked, one is made to look at.
    if not trusted:
        refuse_imports(config.env)
    if config.env_processes:
        return [*make_remote(config.environment, config.num_envs, config.env_processes, trusted=trusted)]
    return [make_env(config.environment, trusted=trusted) for _ in range(config.num_envs)]


def play_all(envs: Sequence[Any], actions: Sequence[int], meanwhile: Callable[[], None] | None = None) -> list[Played]:
    """Take one step in every environment, at the same time in those of other processes, which `meanwhile` runs.

    `actions` are indices: those of a space that does not start at 0 are counted from its start.
    """
    actions = [index + int(env.action_space.start) for env, index in zip(envs, actions, strict=True)]
    remote = [env for env in envs if isinstance(env, RemoteEnv)]
    if remote:
        return play_remotely(remote, actions, meanwhile)
    if meanwhile is not None:
        meanwhile()
    return [play(*pair) for pair in zip(envs, actions, strict=True)]


def make_model_config(config: TrainConfig, env: Any) -> Described:
    """Return the description of the network that learns to play `env`."""
    # Bytes are stored and moved as they are; the network itself brings them into 0 to 1.
    scale = _PIXELS if env.observation_space.dtype == np.uint8 else 1.0
    seen = spaces_of(env)
    if seen.n_action is not None and is_block(config, seen.input_shape):
        return describe_network(config, seen.input_shape, seen.n_action, scale)
    settings = config.to_dict()
    settings["n_steps"] = config.n_steps if config.n_step_learning else 1
    settings["input_scale"] = scale
    settings["game"] = config.env
    return ModelConfig.from_training_config(settings, env)


def describe_network(
    config: TrainConfig, observation: tuple[int, ...], n_action: int, input_scale: float
) -> QConfig | QuantileQConfig | ImplicitQuantileConfig:
    """Return the description of a network of blocks: of vectors, of quantiles, or behind a residual encoder."""
    hidden: Body = (Mlp(sizes=(config.hidden_size,), noisy=config.noisy_networks),)
    trunk = _trunk(config, observation)
    common: dict[str, Any] = {
        "observation": observation,
        "input_scale": input_scale,
        "game": config.env,
        "n_action": n_action,
    }
    if config.implicit_quantile_dqn:
        common |= {"n_cosines": _COSINES, "n_taus": _FRACTIONS}
        return ImplicitQuantileConfig(**common, trunk=trunk, quantile_trunk=hidden)
    streams: dict[str, Any] = {"trunk": (*trunk, *hidden)}
    if config.dueling_dqn:
        streams = {"trunk": trunk, "value_trunk": hidden, "advantage_trunk": hidden, "dueling": True}
    streams["noisy"] = config.noisy_networks
    if config.quantile_dqn:
        return QuantileQConfig(**common, **streams, n_quantiles=config.quantiles)
    atoms = {name: getattr(config, name) for name in ("n_atoms", "v_min", "v_max")}
    return QConfig(**common, **streams, **(atoms if config.distributional_dqn else {}))


def make_replay(config: TrainConfig, network: Described, dtype: Any, seed: int, device: torch.device) -> Replay:
    """Return an empty replay buffer for frames of `dtype`, whose draws begin with `seed`.

    Where a copy of its frames fits on the device of the network, stacks are made there.
    """
    stack = config.environment.frame_stack
    first, *rest = network.input_shape
    size = config.replay_size * np.dtype(dtype).itemsize * math.prod((first // stack, *rest))
    return Replay(
        config.replay_size,
        (first // stack, *rest),
        frame_dtype=dtype,
        frame_stack=stack,
        num_envs=config.num_envs,
        n_steps=config.n_steps if config.n_step_learning else 1,
        gamma=config.gamma,
        prioritized=config.prioritized_replay,
        alpha=config.replay_alpha,
        seed=seed,
        device=device if fits(size, device) else None,
    )


def is_block(config: TrainConfig, observation: tuple[int, ...]) -> bool:
    """Return whether the network is one of blocks, and not one of the eight of the family atari-dqn."""
    plain = len(observation) == 3 and config.encoder in ENCODERS
    return not plain or config.quantile_dqn or config.implicit_quantile_dqn


def _trunk(config: TrainConfig, observation: tuple[int, ...]) -> Body:
    """Return what all heads share: convolutions, or all hidden layers but the last of a network of vectors."""
    if len(observation) == 1:
        sizes = (config.hidden_size,) * (config.hidden_layers - 1)
        return (Mlp(sizes=sizes, noisy=config.noisy_networks),) if sizes else ()
    if config.encoder == "impala":
        return (Residual(channels=_IMPALA),)
    return (Convs(convs=_MINATAR if config.encoder == "minatar" else ENCODERS[config.encoder].convs),)
