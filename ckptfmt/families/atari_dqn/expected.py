"""The tensors that a config stands for: canonical names and shapes of the network it rebuilds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from ckptfmt.errors import printable
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.format.safetensors import shape_text

__all__ = ["expected_tensors", "layer_order", "mismatches", "optional_tensors"]

Shape = tuple[int, ...]
# Of other numbers no layer of these networks can be made.
_FLOATS = frozenset({"F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})


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


def layer_order(names: Iterable[str], config: ModelConfig | None) -> list[str]:
    """Return tensor names in the order of the network's layers, those of no layer last in the order given."""
    place = {name: i for i, name in enumerate(expected_tensors(config))} if config else {}
    return sorted(names, key=lambda name: place.get(name, len(place)))


def optional_tensors(config: ModelConfig) -> frozenset[str]:
    """Return the names that a checkpoint may leave out: noise, which is drawn anew before it is used."""
    names = (name for name in expected_tensors(config) if name.endswith((".epsilon_input", ".epsilon_output")))
    return frozenset(names)


def mismatches(
    config: ModelConfig, shapes: Mapping[str, Sequence[int]], dtypes: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Yield a sentence for each tensor that is missing, too many or of another shape than the config demands.

    With `dtypes` (of safetensors, by name) also for each that holds no real floating-point numbers.
    """
    expected = expected_tensors(config)
    optional = optional_tensors(config)
    for name, shape in expected.items():
        if name not in shapes:
            if name not in optional:
                yield f"{name} is missing"
        elif tuple(shapes[name]) != shape:
            yield f"{name} is {shape_text(shapes[name])}, the config demands {shape_text(shape)}"
    for name, dtype in dtypes.items():
        if name in expected and dtype not in _FLOATS:
            yield f"{name} is {dtype}, a layer of this network holds real floating-point numbers"
    for name in shapes:
        if name not in expected:
            yield f"{printable(name)} belongs to no layer of this network"


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
