"""Stable-Baselines3's zips: an agent that `DQN.load` reads, plays and trains on.

What SB3 keeps beside the weights is JSON; three values of it must be pickles, and each is one call of a public
constructor, written here opcode by opcode. Nothing in the zip is the image of a living object.
"""

import base64
import json
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.encoder import NATURE
from ckptfmt.look.figures import finite
from ckptfmt.share.export.target import (
    Outline,
    Target,
    left_out,
    pixel_scale,
    require,
    require_config,
    stored_tensors,
)
from ckptfmt.share.export.torchfile import torch_bytes
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["SB3"]

_LAYERS = {
    "conv.0": "features_extractor.cnn.0",
    "conv.2": "features_extractor.cnn.2",
    "conv.4": "features_extractor.cnn.4",
    "fc.0": "features_extractor.linear.0",
    "fc.2": "q_net.0",
}
_PIXELS = 255.0
# No counter or rate of a training comes near this; what does was not told by one.
_TOO_MUCH = 2**53
# The version whose form is written; SB3 prints a warning for newer ones alone.
_VERSION = "2.4.0"
# What SB3 2.4 to 2.9 want to find and a network does not say: the arguments' defaults of `DQN`.
_DEFAULTS: Mapping[str, Any] = {
    "verbose": 0,
    "_total_timesteps": 0,
    "_num_timesteps_at_start": 0,
    "action_noise": None,
    "start_time": 0,
    "tensorboard_log": None,
    "_last_obs": None,
    "_last_episode_starts": None,
    "_last_original_obs": None,
    "_episode_num": 0,
    "use_sde": False,
    "sde_sample_freq": -1,
    "_current_progress_remaining": 1.0,
    "_stats_window_size": 100,
    "ep_info_buffer": None,
    "ep_success_buffer": None,
    "_n_updates": 0,
    "n_envs": 1,
    # SB3 takes all of a buffer's memory as it loads, 26 GiB for its own default of a million; who trains on asks
    # for more with `custom_objects={"buffer_size": ...}`.
    "buffer_size": 10_000,
    "tau": 1.0,
    "gradient_steps": 1,
    "optimize_memory_usage": False,
    "replay_buffer_class": None,
    "replay_buffer_kwargs": {},
    "n_steps": 1,
    "use_sde_at_warmup": False,
    "exploration_initial_eps": 1.0,
    "exploration_final_eps": 0.05,
    "exploration_fraction": 0.1,
    "_n_calls": 0,
    "max_grad_norm": 10,
    "exploration_rate": 0.05,
}
# SB3's own name, the names under which trainings tell it, SB3's default.
_SETTINGS: tuple[tuple[str, tuple[str, ...], Any], ...] = (
    ("num_timesteps", ("num_timesteps", "step", "frame_idx", "steps"), 0),
    ("seed", ("seed",), None),
    ("gamma", ("gamma",), 0.99),
    ("learning_rate", ("learning_rate",), 1e-4),
    ("batch_size", ("batch_size",), 32),
    ("learning_starts", ("learning_starts",), 100),
    ("train_freq", ("train_freq", "train_every"), 4),
    ("target_update_interval", ("target_update_interval",), 10_000),
)


def _outline(checkpoint: Checkpoint, dest: str) -> Outline:
    config = require_config(checkpoint, "Stable-Baselines3")
    scale = pixel_scale(checkpoint, config)
    for true, what in (
        (config.get_architecture_name() == "dqn", "Stable-Baselines3's DQN is plain: no dueling, atoms or noise"),
        (config.encoder == NATURE, "Stable-Baselines3's CnnPolicy has the convolutions of the Nature paper and ReLU"),
        (scale in (1, _PIXELS), f"Stable-Baselines3 divides pixels by 255 or not at all, and not by {scale:g}"),
    ):
        require(true, what, checkpoint)
    load = f'DQN.load("{dest}")'
    return Outline(f"DQN, CnnPolicy, {config.n_action} actions", load, left_out(checkpoint))


def _write(checkpoint: Checkpoint, file: BinaryIO) -> None:
    config = require_config(checkpoint, "Stable-Baselines3")
    online = stored_tensors(checkpoint, lambda name: _rename("q_net", name))
    target = stored_tensors(checkpoint, lambda name: _rename("q_net_target", name))
    optimizer = {"state": {}, "param_groups": [_adam(len(online), _settings(checkpoint)["learning_rate"])]}
    parts: dict[str, Any] = {
        "data": json.dumps(_data(checkpoint, config), indent=4).encode(),
        "policy.pth": torch_bytes({**online, **target}, "policy"),
        "policy.optimizer.pth": torch_bytes(optimizer, "policy.optimizer"),
        "pytorch_variables.pth": torch_bytes({}, "pytorch_variables"),
        "_stable_baselines3_version": _VERSION.encode(),
        "system_info.txt": b"exported by ckptfmt\n",
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


def _rename(network: str, name: str) -> str:
    layer, _, parameter = name.rpartition(".")
    return f"{network}.{_LAYERS[layer]}.{parameter}"


def _adam(count: int, learning_rate: float) -> dict[str, Any]:
    """Return the one group of parameters of a new Adam, as its state dict holds it."""
    flags = dict.fromkeys(("amsgrad", "maximize", "capturable", "differentiable", "decoupled_weight_decay"), False)
    rates = {"lr": learning_rate, "betas": (0.9, 0.999), "eps": 1e-08, "weight_decay": 0}
    return {**rates, **flags, "foreach": None, "fused": None, "params": list(range(count))}


def _data(checkpoint: Checkpoint, config: ModelConfig) -> dict[str, Any]:
    scaled = pixel_scale(checkpoint, config) == _PIXELS
    kwargs: dict[str, Any] = {"features_extractor_kwargs": {"features_dim": config.hidden_size}}
    if not scaled:
        kwargs["normalize_images"] = False
    return {
        "policy_class": _pickled("type", _name("stable_baselines3.dqn.policies", "CnnPolicy")),
        "observation_space": _pickled("Box", _box(config.input_shape)),
        "action_space": _pickled("Discrete", _discrete(config.n_action)),
        "policy_kwargs": kwargs,
        **_DEFAULTS,
        **_settings(checkpoint),
    }


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the training said of itself, where it is of the kind that SB3 takes."""
    found = {}
    for name, spellings, default in _SETTINGS:
        told = (finite(checkpoint.training_info.get(spelling)) for spelling in spellings)
        kind = float if isinstance(default, float) else int
        fits = (kind(value) for value in told if value is not None and 0 <= value < _TOO_MUCH)
        found[name] = next(fits, default)
    return found


def _pickled(kind: str, opcodes: bytes) -> dict[str, str]:
    """Return a value as SB3 keeps what is no JSON: the base64 of a pickle, here of protocol 4."""
    return {":type:": kind, ":serialized:": base64.b64encode(b"\x80\x04" + opcodes + b".").decode()}


def _box(shape: tuple[int, int, int]) -> bytes:
    """Return the opcodes of `Box(0, 255, shape, numpy.uint8)`."""
    sizes = b"".join(map(_integer, shape))
    arguments = b"(" + _integer(0) + _integer(255) + sizes + b"\x87" + _name("numpy", "uint8") + b"t"
    return _name("gymnasium.spaces.box", "Box") + arguments + b"R"


def _discrete(count: int) -> bytes:
    """Return the opcodes of `Discrete(count)`."""
    return _name("gymnasium.spaces.discrete", "Discrete") + _integer(count) + b"\x85R"


def _name(module: str, attribute: str) -> bytes:
    return _text(module) + _text(attribute) + b"\x93"


def _text(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


SB3 = Target("sb3", _outline, _write, "ckptfmt.rl.export.check:check_sb3")
