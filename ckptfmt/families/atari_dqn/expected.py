"""The tensors that a config stands for: canonical names and shapes of the network it rebuilds."""

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.registry import Shape

__all__ = ["expected_tensors", "optional_tensors"]


def expected_tensors(config: ModelConfig) -> dict[str, Shape]:
    """Return {name: shape} of every tensor of the network, in the order of its layers.

    Linear weights are (outputs, inputs), convolutions (outputs, inputs, height, width).
    """
    shapes: dict[str, Shape] = {}
    channels = config.input_shape[0]
    for index, conv in enumerate(config.encoder.convs):
        shapes[f"conv.{2 * index}.weight"] = (conv.channels, channels, *conv.kernel)
        shapes[f"conv.{2 * index}.bias"] = (conv.channels,)
        channels = conv.channels
    for stream, outputs in _streams(config):
        shapes |= _linear(config, f"{stream}.0", config.feature_size, config.hidden_size)
        shapes |= _linear(config, f"{stream}.2", config.hidden_size, outputs)
    if config.n_atoms is not None:
        shapes["support"] = (config.n_atoms,)
    return shapes


def optional_tensors(config: ModelConfig) -> frozenset[str]:
    """Return the names that a checkpoint may leave out: noise, which is drawn anew before it is used."""
    names = (name for name in expected_tensors(config) if name.endswith((".epsilon_input", ".epsilon_output")))
    return frozenset(names)


def _streams(config: ModelConfig) -> list[tuple[str, int]]:
    atoms = config.n_atoms or 1
    if config.dueling_dqn:
        return [("value_stream", atoms), ("advantage_stream", config.n_action * atoms)]
    return [("fc", config.n_action * atoms)]


def _linear(config: ModelConfig, name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    if not config.noisy_networks:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    return {
        f"{name}.weight_mu": (outputs, inputs),
        f"{name}.weight_sigma": (outputs, inputs),
        f"{name}.bias_mu": (outputs,),
        f"{name}.bias_sigma": (outputs,),
        f"{name}.epsilon_input": (inputs,),
        f"{name}.epsilon_output": (outputs,),
    }
