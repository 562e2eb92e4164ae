"""The blocks that bodies of networks are made of, as modules of torch."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.blocks import Block, Body, Cell, Convs, Mlp, Residual
from ckptfmt.families.network import NetworkConfig
from ckptfmt.rl.families.noisy import NoisyLinear

__all__ = ["BodyModule", "Normalizer", "State", "activation", "linear", "part", "scaled"]

Shape = tuple[int, ...]
# What the cells of a body remember, by the number of their block; and those of a network, by the body.
Memory = dict[int, Tensor | tuple[Tensor, Tensor]]
State = dict[str, Memory]

_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return an activation by our name of it; `none` changes nothing."""
    if name == "none":
        return nn.Identity()
    layer = ACTIVATIONS[name]
    module: nn.Module = getattr(nn, layer.layer)(**layer.constants)
    return module


def linear(inputs: int, outputs: int, *, noisy: bool = False) -> nn.Module:
    """Return a linear layer, plain or noisy."""
    return NoisyLinear(inputs, outputs) if noisy else nn.Linear(inputs, outputs)


def scaled(config: NetworkConfig, x: Tensor, like: nn.Module) -> Tensor:
    """Return what is seen in the dtype of the weights, divided by the config's scale."""
    dtype = next(like.parameters()).dtype
    x = x.to(dtype)
    return x if config.input_scale == 1 else x / config.input_scale


def part(state: State | None, body: str) -> Memory | None:
    """Return the memory of one body, where a network keeps any."""
    return None if state is None else state.setdefault(body, {})


class Normalizer(nn.Module):
    """Running statistics of numbers: what is seen is normalised by them, or what is normalised brought back.

    With the variance σ² it is (x - μ) / √(σ² + ε), with the deviation σ (x - μ) / (σ + ε), each clamped.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: NetworkConfig, kind: str, shape: Shape) -> None:
        super().__init__()
        self.kind, self.epsilon, self.range = kind, config.normalizer_epsilon, config.normalizer_range
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("spread", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise numbers."""
        return self._clamped((x - self.mean.to(x.dtype)) / self._deviation(x))

    def back(self, x: Tensor) -> Tensor:
        """Return normalised numbers as they were."""
        return self._clamped(x) * self._deviation(x) + self.mean.to(x.dtype)

    def _deviation(self, x: Tensor) -> Tensor:
        spread = self.spread.to(x.dtype)
        return spread + self.epsilon if self.kind == "deviation" else (spread + self.epsilon).sqrt()

    def _clamped(self, x: Tensor) -> Tensor:
        return x if self.range is None else x.clamp(*self.range)


class BodyModule(nn.ModuleList):
    """A row of blocks. What has cells takes (time, batch, …) and gives (time, batch, features)."""

    def __init__(self, body: Body, seen: Shape, usual: str) -> None:
        super().__init__()
        for block in body:
            self.append(_module(block, seen, usual))
            _, seen = block.tensors(seen)
        self.features = 1
        for size in seen:
            self.features *= size

    def forward(self, x: Tensor, state: Memory | None = None, *, lead: int = 1) -> Tensor:
        """Map what is seen to features; `lead` dimensions come before those of one observation.

        `state` holds what cells remember and is brought up to date; without it they begin with zeros.
        """
        shape = x.shape[:lead]
        x = x.flatten(0, lead - 1) if lead > 1 else x
        for i, block in enumerate(self):
            if isinstance(block, _CellModule):
                x = block(x.flatten(1).view(*shape, -1), state, i).flatten(0, 1)
            else:
                x = block(x)
        # A body of no blocks gives what it saw, frames as frames.
        x = x if len(self) == 0 and x.dim() > 2 else x.flatten(1)
        return x.view(*shape, *x.shape[1:]) if lead > 1 else x


class _MlpModule(nn.Module):
    def __init__(self, block: Mlp, seen: Shape, usual: str) -> None:
        super().__init__()
        inputs = 1
        for size in seen:
            inputs *= size
        sizes = (inputs, *block.sizes)
        self.linear = nn.ModuleList(linear(*sizes[i : i + 2], noisy=block.noisy) for i in range(len(block.sizes)))
        self.norm = nn.ModuleList(_norm(block.norm, size, 1) for size in block.sizes if block.norm != "none")
        self.activation = activation(block.activation or usual)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for i, layer in enumerate(self.linear):
            x = layer(x)
            x = self.activation(self.norm[i](x) if len(self.norm) else x)
        return x


class _ConvsModule(nn.Module):
    def __init__(self, block: Convs, seen: Shape, usual: str) -> None:
        super().__init__()
        channels = (seen[0], *(conv.channels for conv in block.convs))
        self.conv = nn.ModuleList(
            nn.Conv2d(channels[i], conv.channels, conv.kernel, conv.stride, conv.padding)
            for i, conv in enumerate(block.convs)
        )
        self.norm = nn.ModuleList(_norm(block.norm, conv.channels, 2) for conv in block.convs if block.norm != "none")
        self.activation = activation(block.activation or usual)

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.conv):
            x = layer(x)
            x = self.activation(self.norm[i](x) if len(self.norm) else x)
        return x


class _ResidualModule(nn.Module):
    def __init__(self, block: Residual, seen: Shape, usual: str) -> None:
        super().__init__()
        inputs = (seen[0], *block.channels)
        conv = partial(nn.Conv2d, kernel_size=3, padding=1)
        self.stage = nn.ModuleList(
            nn.ModuleList(conv(inputs[i] if k == 0 else size, size) for k in range(1 + 2 * block.blocks))
            for i, size in enumerate(block.channels)
        )
        self.activation = activation(block.activation or usual)

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stage:
            convs = list(stage.children())
            # Espeholt et al. 2018, figure 3: a window of 3 and a stride of 2.
            x = functional.max_pool2d(convs[0](x), 3, 2, 1)
            for one, other in zip(convs[1::2], convs[2::2], strict=True):
                x = x + other(self.activation(one(self.activation(x))))
        return self.activation(x)


class _CellModule(nn.Module):
    def __init__(self, block: Cell, seen: Shape, usual: str) -> None:
        super().__init__()
        inputs = 1
        for size in seen:
            inputs *= size
        self.cell = _CELLS[block.cell](inputs, block.size, block.layers)

    def forward(self, x: Tensor, state: Memory | None, key: int) -> Tensor:
        given = None if state is None else state.get(key)
        x, after = self.cell(x, given)
        if state is not None:
            state[key] = after
        return x


def _module(block: Block, seen: Shape, usual: str) -> nn.Module:
    match block:
        case Mlp():
            return _MlpModule(block, seen, usual)
        case Convs():
            return _ConvsModule(block, seen, usual)
        case Residual():
            return _ResidualModule(block, seen, usual)
        case Cell():
            return _CellModule(block, seen, usual)


def _norm(kind: str, size: int, dims: int) -> nn.Module:
    if kind == "layer":
        return nn.LayerNorm(size)
    # A counter that eval mode does not use is not kept.
    norm = (nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d)(size)
    norm.num_batches_tracked = None
    return norm
