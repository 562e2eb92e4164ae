"""A network's architecture as a table."""

from typing import Any

import torch
from torch import Tensor, nn

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.spaces import Spaces, is_agent
from ckptfmt.families.targets import PREFIX
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import shape_text
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.families.network import BlockNetwork
from ckptfmt.rl.families.noisy import NoisyLinear

__all__ = ["Description", "Layer", "describe"]


@record(kw_only=True)
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


@record(kw_only=True)
class Description:
    """What a network is made of; `gives` says in words what it does, and `n_action` is None of real actions."""

    architecture: str
    input_shape: tuple[int, ...]
    n_action: int | None
    gives: str
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
        head = f"{self.architecture}, {shape_text(self.input_shape)} -> {self.gives}, {size}"
        rows = [("layer", "kind", "output", "parameters")]
        rows += [(layer.name, layer.kind, shape_text(layer.output), f"{layer.parameters:,}") for layer in self.layers]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3].rjust(widths[3])]) for row in rows]
        return "\n".join([head, *lines])


def describe(config: Any) -> Description:
    """Return the table of layers of the network that `config` describes, without building its weights."""
    model = create_model_from_config(config, "meta")
    outputs = _traced(model) if isinstance(model, BlockNetwork) else {}
    if isinstance(config, ModelConfig):
        outputs = _conv_outputs(config)
    named = [(name, module) for name, module in model.named_modules() if isinstance(module, _LAYERS)]
    layers = [_layer(name, module, outputs.get(name.removeprefix(PREFIX))) for name, module in named]
    layers += [_free(name, tensor) for name, tensor in model.named_parameters(recurse=False)]
    return Description(
        architecture=Blueprint.of(config).name,
        input_shape=tuple(config.input_shape),
        n_action=getattr(config, "n_action", None),
        gives=_gives(config),
        layers=tuple(layers),
    )


_LAYERS = (nn.Conv2d, nn.Linear, NoisyLinear, nn.LSTM, nn.GRU, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


def _gives(config: Any) -> str:
    if not is_agent(config):
        return "values"
    names = ("n_action", "action_dim", "choices")
    played = Spaces((), **{name: getattr(config, name, None) for name in names})
    return f"{played.actions} actions" if played.n_action is not None else played.actions


def _free(name: str, tensor: Tensor) -> Layer:
    shape = tuple(tensor.shape)
    return Layer(name=name, kind="parameter", output=shape, tensors={name: shape}, parameters=tensor.numel())


@torch.no_grad()
def _traced(model: BlockNetwork) -> dict[str, tuple[int, ...]]:
    """Return what leaves each layer for one observation, found by letting shapes alone go through the network."""
    found: dict[str, tuple[int, ...]] = {}

    def hook(name: str) -> Any:
        def note(module: nn.Module, given: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            # Cells have time and batch before their features, other layers the batch alone.
            found[name] = tuple(tensor.shape[2 if isinstance(module, nn.RNNBase) else 1 :])

        return note

    for name, module in model.named_modules():
        if isinstance(module, _LAYERS):
            module.register_forward_hook(hook(name))
    lead = (1, 1) if model.is_recurrent else (1,)
    given = {} if is_agent(model.config) else {"action": torch.zeros(1, getattr(model.config, "action_dim", 1))}
    meta = {name: tensor.to("meta") for name, tensor in given.items()}
    model.eval().run(torch.zeros(*lead, *model.config.observation, device="meta"), {}, **meta)
    return found


def _layer(name: str, module: nn.Module, output: tuple[int, ...] | None) -> Layer:
    if output is None:
        output = (int(module.out_features),) if hasattr(module, "out_features") else ()  # type: ignore[arg-type]
    return Layer(
        name=name,
        kind=_kind(module),
        output=output,
        tensors={key: tuple(tensor.shape) for key, tensor in module.state_dict().items()},
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    )


def _kind(module: nn.Module) -> str:
    match module:
        case nn.Conv2d():
            return f"conv {shape_text(module.kernel_size)}, stride {shape_text(module.stride)}"
        case NoisyLinear():
            return "noisy linear"
        case nn.RNNBase():
            return module.mode
        case nn.LayerNorm():
            return "layer norm"
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return "batch norm"
    return "linear"


def _conv_outputs(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the feature map behind each convolution, by the name of the convolution."""
    _, height, width = config.input_shape
    outputs: dict[str, tuple[int, ...]] = {}
    for number, conv in enumerate(config.encoder.convs):
        height, width = conv.output_size(height, width)
        # Convolutions stand at even places, activations between them.
        outputs[f"conv.{2 * number}"] = (conv.channels, height, width)
    return outputs
