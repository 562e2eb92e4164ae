"""Load an export with the library it is for, and compare what comes out with what the checkpoint gives."""

import os
from typing import Any

import torch
from torch import Tensor, nn

from ckptfmt.errors import ConversionError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.load import load_open_checkpoint
from ckptfmt.rl.stored import read_tensors
from ckptfmt.share.export.target import environment_scale
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["check_cleanrl", "check_sb3", "check_torch", "compare_values", "draw_frames"]

# A batch as trainings use: a wrong activation or scale shows in the first of them.
_FRAMES = 32


def check_torch(checkpoint: Checkpoint, path: str) -> str:
    """Hold a state dict that `torch.load(weights_only=True)` read against the checkpoint's tensors."""
    loaded = torch.load(path, weights_only=True, map_location="cpu")
    stored = read_tensors(checkpoint)
    same = loaded.keys() == stored.keys() and all(_equal(loaded[name], stored[name]) for name in stored)
    if not same:
        raise _differs("the tensors that torch loads are not those of the checkpoint", path)
    return f"{len(stored)} tensors equal, bit for bit"


def check_cleanrl(checkpoint: Checkpoint, path: str) -> str:
    """Load the file into the network of CleanRL's scripts and compare Q-values."""
    loaded = torch.load(path, weights_only=True, map_location="cpu")
    config = checkpoint.config
    assert isinstance(config, ModelConfig)
    network = _cleanrl_network(config)
    network.load_state_dict(loaded["model_weights"] if config.distributional_dqn else loaded)
    frames = draw_frames(config)
    scores = network.network(frames / 255.0)
    if config.distributional_dqn:
        chances = scores.view(len(frames), config.n_action, -1).softmax(dim=2)
        scores = (chances * network.atoms).sum(2)
    return compare_values(checkpoint, frames, scores.detach(), path)


def check_sb3(checkpoint: Checkpoint, path: str) -> str:
    """Load the zip with Stable-Baselines3 and compare Q-values."""
    # The guest is imported where it is asked for: most who export to the other targets do not have it.
    from stable_baselines3 import DQN

    config = checkpoint.config
    assert isinstance(config, ModelConfig)
    frames = draw_frames(config)
    # Read from an open file, since SB3 adds `.zip` to names that have another ending.
    with open(path, "rb") as file:
        agent = DQN.load(file, device="cpu")
    with torch.no_grad():
        values = agent.policy.q_net(frames)
    return compare_values(checkpoint, frames, values, path)


def draw_frames(config: ModelConfig) -> Tensor:
    """Return frames of random pixels, uint8 (32, channels, height, width)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (_FRAMES, *config.input_shape), generator=generator, dtype=torch.uint8)


def compare_values(checkpoint: Checkpoint, frames: Tensor, theirs: Tensor, path: str) -> str:
    """Compare Q-values (batch, actions) of pixels with those of the checkpoint's own network."""
    model: Any = load_open_checkpoint(checkpoint)[0]
    outside = environment_scale(checkpoint)
    with torch.no_grad():
        ours = model.get_q_values(frames if outside == 1 else frames / outside)
    if torch.equal(ours, theirs):
        return f"Q-values of {len(frames)} frames equal, bit for bit"
    apart = float((ours - theirs).abs().max())
    # Other kernels add in another order; 24 bits of a sum of some thousand terms are good to about this.
    if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(ours.abs().max())):
        raise _differs(f"its Q-values differ by up to {apart:.3g}", path)
    return f"Q-values of {len(frames)} frames equal but for {apart:.1e}"


def _cleanrl_network(config: ModelConfig) -> Any:
    """Return the network of `dqn_atari.py` and `c51_atari.py`, layer for layer."""
    atoms = config.n_atoms or 1
    network: Any = nn.Module()
    network.network = nn.Sequential(
        nn.Conv2d(4, 32, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3136, 512),
        nn.ReLU(),
        nn.Linear(512, config.n_action * atoms),
    )
    if config.distributional_dqn:
        network.register_buffer("atoms", torch.zeros(atoms))
    return network


def _equal(a: Tensor, b: Tensor) -> bool:
    same = a.dtype == b.dtype and a.shape == b.shape
    return same and bool(torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8)))


def _differs(what: str, path: str) -> ConversionError:
    where = os.path.basename(path)
    return ConversionError(what, where=where, fix="please report it; nothing was exported", code="export.differs")
