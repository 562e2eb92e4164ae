"""From a `ModelConfig` to a network."""

import torch

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.device import parse_device
from ckptfmt.rl.families.atari_dqn import QNetwork

__all__ = ["create_model_from_config"]


def create_model_from_config(model_config: ModelConfig, device: str | torch.device = "cpu") -> QNetwork:
    """Build the network that `model_config` describes, freshly initialised, on `device`.

    The device `meta` gives a network of shapes alone. Raises `CkptError` for a device that is not there.
    """
    with parse_device(device):
        return QNetwork(model_config)
