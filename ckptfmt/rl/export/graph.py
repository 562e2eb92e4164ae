"""A network as a function of tensors alone: what goes in and what comes out, by name and in order.

A recurrent network takes one step: what it remembers goes in beside what it sees, and what it will remember comes out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ckptfmt.families.blocks import Cell
from ckptfmt.families.network import NetworkConfig
from ckptfmt.format.record import record
from ckptfmt.rl.export.compare import draw_seen
from ckptfmt.rl.families.factory import create_model_from_config

__all__ = ["Graph", "graph_of"]

_PARTS = {"lstm": ("h", "c"), "gru": ("h",)}


@record
class Graph:
    """The inputs of a network, each with the axis along which a batch lies, and its outputs."""

    config: Any
    inputs: Mapping[str, int]
    outputs: tuple[str, ...]

    def module(self, model: nn.Module) -> nn.Module:
        """Return a module that takes the inputs in their order and gives the outputs in theirs."""
        return _Step(model, self.config)

    def examples(self, count: int) -> tuple[Tensor, ...]:
        """Return a batch of inputs."""
        return _examples(self.config, count)


def graph_of(config: Any) -> Graph:
    """Return the graph of the network that a config describes."""
    seen = "frames" if len(config.input_shape) == 3 else "observations"
    action = {"actions": 0} if config.family == "action-value" else {}
    inputs = {seen: 0, **action, **dict.fromkeys(_remembered(config), 1)}
    # Run once without numbers, only to learn the names of its outputs.
    step = _Step(create_model_from_config(config, "meta").eval(), config)
    step(*(tensor.to("meta") for tensor in _examples(config, 2)))
    return Graph(config, inputs, step.names)


class _Step(nn.Module):
    """All outputs of a network, as a tuple; `names` are theirs once it ran."""

    def __init__(self, network: nn.Module, config: Any) -> None:
        super().__init__()
        self.network: Any = network
        self.config = config
        self.names: tuple[str, ...] = ()

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        found = self._found(given[0], given[1:])
        self.names = tuple(found)
        # Two names of one tensor are two outputs.
        return tuple(tensor.clone() for tensor in found.values())

    def _found(self, seen: Tensor, rest: tuple[Tensor, ...]) -> dict[str, Tensor]:
        cells = list(_cells(self.config))
        if not cells:
            given = {"action": rest[0]} if rest else {}
            return _told(self.network, self.network.outputs(seen, **given))
        states: dict[str, Any] = {}
        left = list(rest)
        for body, place, cell in cells:
            parts = [left.pop(0) for _ in _PARTS[cell.cell]]
            states.setdefault(body, {})[place] = tuple(parts) if len(parts) > 1 else parts[0]
        found = {name: tensor.squeeze(0) for name, tensor in self.network.run(seen.unsqueeze(0), states).items()}
        after = {
            f"{body}.{place}.{part}.next": tensor
            for body, place, cell in cells
            for part, tensor in zip(_PARTS[cell.cell], _parts(states[body][place]), strict=True)
        }
        return {**_told(self.network, found), **after}


def _told(network: Any, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return outputs with what follows from them, Q-values first: probabilities of atoms, the best of logits."""
    first = {"q_values": found["q_values"]} if "q_values" in found else {}
    if "atom_logits" in found:
        first["probabilities"] = found["atom_logits"].softmax(dim=-1)
    last = {"action": network.choose(found)} if "logits" in found else {}
    return {**first, **found, **last}


def _cells(config: Any) -> Iterator[tuple[str, int, Cell]]:
    """Yield the body, the place in it and the block of each recurrent cell, in the order of the config."""
    if isinstance(config, NetworkConfig):
        for field, body in config.bodies():
            name = "trunk" if field == "trunk" else field.removesuffix("_trunk")
            yield from ((name, place, block) for place, block in enumerate(body) if isinstance(block, Cell))


def _remembered(config: Any) -> Iterator[str]:
    for body, place, cell in _cells(config):
        yield from (f"{body}.{place}.{part}" for part in _PARTS[cell.cell])


def _parts(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def _examples(config: Any, count: int) -> tuple[Tensor, ...]:
    # Another seed than those of what is seen and done, or states would be copies of them.
    generator = torch.Generator().manual_seed(2)
    seen = draw_seen(config)[:count].float()
    action = [torch.rand(count, config.action_dim, generator=generator)] if config.family == "action-value" else []
    states = [
        torch.randn(cell.layers, count, cell.size, generator=generator)
        for _, _, cell in _cells(config)
        for _ in _PARTS[cell.cell]
    ]
    return (seen, *action, *states)
