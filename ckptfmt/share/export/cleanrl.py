"""CleanRL's files: what `dqn_atari.py` and `c51_atari.py` save, loaded by the classes of these scripts."""

from typing import Any, BinaryIO

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.encoder import NATURE
from ckptfmt.share.export.target import (
    Outline,
    Target,
    left_out,
    pixel_scale,
    require,
    require_config,
    stored_tensors,
)
from ckptfmt.share.export.torchfile import write_torch_file
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["CLEANRL"]

# One `nn.Sequential` of both scripts: convolutions, activations, flatten and linear layers are counted together.
_LAYERS = {
    "conv.0": "network.0",
    "conv.2": "network.2",
    "conv.4": "network.4",
    "fc.0": "network.7",
    "fc.2": "network.9",
}
_SHAPE = (4, 84, 84)
_HIDDEN = 512
_PIXELS = 255.0


def _outline(checkpoint: Checkpoint, dest: str) -> Outline:
    config = require_config(checkpoint, "CleanRL")
    for true, what in _conditions(checkpoint, config):
        require(true, what, checkpoint)
    script = "c51_atari.py" if config.distributional_dqn else "dqn_atari.py"
    weights = '["model_weights"]' if config.distributional_dqn else ""
    load = f'q_network.load_state_dict(torch.load("{dest}", weights_only=True){weights})'
    return Outline(f"QNetwork of {script}, {config.n_action} actions", load, left_out(checkpoint))


def _conditions(checkpoint: Checkpoint, config: ModelConfig) -> list[tuple[bool, str]]:
    scale = pixel_scale(checkpoint, config)
    return [
        (not config.dueling_dqn, "CleanRL's DQN and C51 have no dueling streams"),
        (not config.noisy_networks, "CleanRL's DQN and C51 have no noisy layers"),
        (config.encoder == NATURE, "CleanRL's network has the convolutions of the Nature paper and ReLU"),
        (config.input_shape == _SHAPE, "CleanRL's network takes 4×84×84 frames"),
        (config.hidden_size == _HIDDEN, f"CleanRL's network has {_HIDDEN} hidden units"),
        (scale == _PIXELS, f"CleanRL's network divides pixels by 255, and those of this one are divided by {scale:g}"),
    ]


def _write(checkpoint: Checkpoint, file: BinaryIO) -> None:
    config = require_config(checkpoint, "CleanRL")
    weights = stored_tensors(checkpoint, _rename)
    value: dict[str, Any] = dict(weights)
    if config.distributional_dqn:
        env = checkpoint.manifest.environment.get("id")
        support = {"n_atoms": config.n_atoms, "v_min": config.v_min, "v_max": config.v_max}
        value = {"model_weights": weights, "args": {"env_id": env, **support}}
    write_torch_file(file, value)


def _rename(name: str) -> str:
    layer, _, parameter = name.rpartition(".")
    return f"{_LAYERS[layer]}.{parameter}" if layer else "atoms"


CLEANRL = Target("cleanrl", _outline, _write, "ckptfmt.rl.export.check:check_cleanrl")
