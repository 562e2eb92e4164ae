"""A network's architecture as a table."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.families.noisy import NoisyLinear

__all__ = ["Description", "Layer", "describe"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer with weights: its name, kind, the shape that leaves it (batch left out) and its tensors."""

    name: str
    kind: str
    output: tuple[int, ...]
    tensors: dict[str, tuple[int, ...]]
    parameters: int

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "output": list(self.output),
            "tensors": {name: list(shape) for name, shape in self.tensors.items()},
            "parameters": self.parameters,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a network is made of."""

    architecture: str
    input_shape: tuple[int, ...]
    n_action: int
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Return how many trainable numbers the network has."""
        return sum(layer.parameters for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain data."""
        return {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "n_action": self.n_action,
            "parameters": self.parameters,
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def text(self) -> str:
        """Return the table as lines of text, columns two spaces apart."""
        size = f"{self.parameters:,} parameters"
        head = f"{self.architecture}, {_shape(self.input_shape)} -> {self.n_action} actions, {size}"
        rows = [("layer", "kind", "output", "parameters")]
        rows += [(layer.name, layer.kind, _shape(layer.output), f"{layer.parameters:,}") for layer in self.layers]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3].rjust(widths[3])]) for row in rows]
        return "\n".join([head, *lines])


def describe(config: ModelConfig) -> Description:
    """Return the table of layers of the network that `config` describes, without building its weights."""
    model = create_model_from_config(config, "meta")
    outputs = _conv_outputs(config)
    layers = [
        _layer(name, module, outputs.get(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | NoisyLinear)
    ]
    return Description(
        architecture=config.get_architecture_name(),
        input_shape=config.input_shape,
        n_action=config.n_action,
        layers=tuple(layers),
    )


def _layer(name: str, module: nn.Module, output: tuple[int, ...] | None) -> Layer:
    if isinstance(module, nn.Conv2d):
        kind = f"conv {_shape(module.kernel_size)}, stride {_shape(module.stride)}"
    else:
        kind = "noisy linear" if isinstance(module, NoisyLinear) else "linear"
        output = (int(module.out_features),)  # type: ignore[arg-type]
    return Layer(
        name=name,
        kind=kind,
        output=output or (),
        tensors={key: tuple(tensor.shape) for key, tensor in module.state_dict().items()},
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    )


def _conv_outputs(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the feature map behind each convolution, by the name of the convolution."""
    _, height, width = config.input_shape
    outputs: dict[str, tuple[int, ...]] = {}
    for number, conv in enumerate(config.encoder.convs):
        height, width = conv.output_size(height, width)
        outputs[f"conv.{2 * number}"] = (conv.channels, height, width)
    return outputs


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))
