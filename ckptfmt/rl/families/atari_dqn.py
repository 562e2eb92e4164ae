"""The eight value networks, built from one description."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.atari_dqn.support import atoms
from ckptfmt.rl.families.joins import JOINS
from ckptfmt.rl.families.noisy import NoisyLinear, reset_noise

__all__ = ["QNetwork", "build"]


class QNetwork(nn.Module):
    """A deep Q-network with any of the dueling, distributional and noisy parts.

    The trunk `conv` is followed by one head `fc` (Mnih et al. 2015) or by `value_stream` and
    `advantage_stream`, joined as `dueling_join` says (Wang et al. 2016). A distributional network
    (Bellemare et al. 2017) ends in `n_atoms` logits an action, action-major, over the fixed buffer `support`.
    Linear layers are noisy (Fortunato et al. 2018) where the config says so. The network divides its input by
    `input_scale`.
    """

    support: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self._atoms = config.n_atoms or 1
        if config.distributional_dqn:
            self.register_buffer("support", torch.tensor(atoms(config)))
        self.conv = _trunk(config)
        if config.dueling_dqn:
            self.value_stream = _stream(config, self._atoms)
            self.advantage_stream = _stream(config, config.n_action * self._atoms)
        else:
            self.fc = _stream(config, config.n_action * self._atoms)

    def forward(self, x: Tensor) -> Tensor:
        """Map frames (batch, channels, height, width) to Q-values or to probabilities of returns.

        Frames may be uint8; they are turned into the dtype of the weights. The result is (batch, n_action),
        or (batch, n_action, n_atoms) for a distributional network.
        """
        scores = self._scores(x)
        return scores.softmax(dim=2) if self.config.distributional_dqn else scores.squeeze(2)

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the probabilities of returns (batch, n_action, n_atoms) of a distributional network."""
        return self._scores(x).softmax(dim=2)

    def log_probabilities(self, x: Tensor) -> Tensor:
        """Return the logarithm of a distributional `forward`, computed without the detour over the softmax."""
        return self._scores(x).log_softmax(dim=2)

    def get_q_values(self, x: Tensor) -> Tensor:
        """Return (batch, n_action) expected returns, whatever `forward` gives."""
        values = self.forward(x)
        return (values * self.support).sum(dim=2) if self.config.distributional_dqn else values

    def outputs(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return all that the network says of frames.

        `q_values` (batch, n_action); `atom_logits` (batch, n_action, n_atoms) of a distributional network; of a
        dueling one that is not, also `value` (batch,) and `advantages` (batch, n_action), as they leave the streams.
        """
        scores = self._scores(x)
        if self.config.distributional_dqn:
            return {"q_values": (scores.softmax(dim=2) * self.support).sum(dim=2), "atom_logits": scores}
        said = {"q_values": scores.squeeze(2)}
        if self.config.dueling_dqn:
            features = self._features(x)
            said |= {"value": self.value_stream(features)[:, 0], "advantages": self.advantage_stream(features)}
        return said

    def reset_noise(self) -> None:
        """Draw new noise for every noisy layer; does nothing to a network without them."""
        reset_noise(self)

    def _scores(self, x: Tensor) -> Tensor:
        """Return (batch, n_action, n_atoms) logits; plain Q-values are the case of one atom."""
        features = self._features(x)
        sizes = (self.config.n_action, self._atoms)
        scores: Tensor
        if not self.config.dueling_dqn:
            scores = self.fc(features).unflatten(1, sizes)
            return scores
        value = self.value_stream(features).unsqueeze(1)
        advantage = self.advantage_stream(features).unflatten(1, sizes)
        return JOINS[self.config.dueling_join](value, advantage)

    def _features(self, x: Tensor) -> Tensor:
        dtype = next(self.conv.parameters()).dtype
        x = x.to(dtype) if self.config.input_scale == 1 else x.to(dtype, copy=True).div_(self.config.input_scale)
        return self.conv(x).flatten(1)  # type: ignore[no-any-return]


def _activation(name: str) -> Callable[[], nn.Module]:
    layer = ACTIVATIONS[name]
    return partial(getattr(nn, layer.layer), **layer.constants)


def _trunk(config: ModelConfig) -> nn.Sequential:
    activation = _activation(config.encoder.activation)
    layers: list[nn.Module] = []
    channels = config.input_shape[0]
    for conv in config.encoder.convs:
        layers += [nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, conv.padding), activation()]
        channels = conv.channels
    return nn.Sequential(*layers)


def _stream(config: ModelConfig, outputs: int) -> nn.Sequential:
    """Two linear layers; `outputs` is what the second one gives."""
    activation = _activation(config.encoder.activation)
    return nn.Sequential(
        _linear(config, config.feature_size, config.hidden_size),
        activation(),
        _linear(config, config.hidden_size, outputs),
    )


def _linear(config: ModelConfig, inputs: int, outputs: int) -> nn.Module:
    if config.noisy_networks:
        return NoisyLinear(inputs, outputs, config.noisy_std_init)
    return nn.Linear(inputs, outputs)


def build(config: ModelConfig) -> QNetwork:
    """Return one of the eight networks, freshly initialised."""
    return QNetwork(config)
