"""Blocks: what the bodies of networks are made of, as data in a config, and the tensors that each has.

A body is a row of blocks, each of which takes what the one before it gives: (channels, height, width) or (features,).
What lies between bodies and heads is the code of a family.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from ckptfmt.errors import ConfigError
from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.config import Data, flag, one_of, positive
from ckptfmt.families.encoder import Conv, convs_kind
from ckptfmt.format.document import object_schema, value
from ckptfmt.format.kinds import Kind, optional

__all__ = [
    "BLOCKS", "Block", "Body", "Cell", "Convs", "Mlp", "Residual", "activation_kind", "body_kind", "body_tensors",
    "cells", "linear_tensors", "sizes_kind",
]  # fmt: skip

Shape = tuple[int, ...]
Tensors = dict[str, Shape]

# How many matrices torch stacks in the weight of a cell.
_GATES = {"lstm": 4, "gru": 3}
_NORMS = ("none", "layer", "batch")
activation_kind = one_of(*ACTIVATIONS, "none")
_own_activation = optional(activation_kind)
_OWN = "Follows each layer; null for that of the whole network, none for none."


def _parse_sizes(item: Any, where: str, relaxed: bool) -> tuple[int, ...]:
    if isinstance(item, str) or not isinstance(item, Sequence):
        raise ConfigError("must be a list of sizes", where=where)
    return tuple(positive.parse(size, where, relaxed) for size in item)


sizes_kind = Kind(_parse_sizes, {"type": "array", "items": positive.schema, "minItems": 1}, positive.defs)


@dataclass(frozen=True, kw_only=True)
class _Block(Data):
    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the block as it stands in the manifest."""
        return {"kind": self.kind, **super().to_dict()}


@dataclass(frozen=True, kw_only=True)
class Mlp(_Block):
    """Linear layers in a row, each followed by a normalisation, where there is one, and by an activation."""

    kind: ClassVar[str] = "mlp"

    sizes: tuple[int, ...] = value(sizes_kind, "Outputs of each linear layer.")
    activation: str | None = value(_own_activation, _OWN, default=None)
    norm: str = value(one_of(*_NORMS), "What normalises behind each linear layer.", default="none")
    noisy: bool = value(flag, "Whether its layers are noisy, with factorised noise.", default=False)

    def tensors(self, seen: Shape) -> tuple[Tensors, Shape]:
        """Return ({name: shape}, what it gives) for what it sees."""
        inputs, found = prod(seen), Tensors()
        for i, size in enumerate(self.sizes):
            found |= linear_tensors(f"linear.{i}", size, inputs, noisy=self.noisy) | _norm(f"norm.{i}", size, self.norm)
            inputs = size
        return found, (inputs,)


@dataclass(frozen=True, kw_only=True)
class Convs(_Block):
    """Convolutions in a row, each followed by a normalisation, where there is one, and by an activation."""

    kind: ClassVar[str] = "convs"

    convs: tuple[Conv, ...] = value(convs_kind, "The convolutions from the input on.")
    activation: str | None = value(_own_activation, _OWN, default=None)
    norm: str = value(one_of("none", "batch"), "What normalises behind each convolution.", default="none")

    def tensors(self, seen: Shape) -> tuple[Tensors, Shape]:
        """Return ({name: shape}, what it gives) for what it sees."""
        channels, height, width = _image(seen)
        found = Tensors()
        for i, conv in enumerate(self.convs):
            found |= {f"conv.{i}.weight": (conv.channels, channels, *conv.kernel), f"conv.{i}.bias": (conv.channels,)}
            found |= _norm(f"norm.{i}", conv.channels, self.norm)
            channels, (height, width) = conv.channels, conv.output_size(height, width)
        return found, _image((channels, height, width))


@dataclass(frozen=True, kw_only=True)
class Residual(_Block):
    """A residual encoder (Espeholt et al. 2018, figure 3): stages of a convolution, a pooling and residual blocks.

    Each convolution is 3×3 with padding 1, each pooling the maximum over 3×3 with stride 2 and padding 1; a block is
    activation, convolution, activation, convolution, and its input added. An activation follows the last stage.
    """

    kind: ClassVar[str] = "residual"

    channels: tuple[int, ...] = value(sizes_kind, "Channels of each stage.")
    blocks: int = value(positive, "Residual blocks in each stage.", default=2)
    activation: str | None = value(_own_activation, _OWN, default=None)

    def tensors(self, seen: Shape) -> tuple[Tensors, Shape]:
        """Return ({name: shape}, what it gives) for what it sees."""
        inputs, height, width = _image(seen)
        found = Tensors()
        for i, size in enumerate(self.channels):
            for k in range(1 + 2 * self.blocks):
                # Espeholt et al. 2018, figure 3: kernels of 3, of which the first of a stage is pooled and the others
                # come in pairs.
                found |= {f"stage.{i}.{k}.weight": (size, inputs, 3, 3), f"stage.{i}.{k}.bias": (size,)}
                inputs = size
            # Pooled by a window of 3, a stride of 2 and a padding of 1.
            height, width = (height + 1) // 2, (width + 1) // 2
        return found, (inputs, height, width)


@dataclass(frozen=True, kw_only=True)
class Cell(_Block):
    """A recurrent cell, gates in the order of torch: i, f, g, o of an LSTM and r, z, n of a GRU."""

    kind: ClassVar[str] = "cell"

    cell: str = value(one_of(*_GATES), "Which cell it is.")
    size: int = value(positive, "Its outputs.")
    layers: int = value(positive, "Cells one upon another.", default=1)

    def tensors(self, seen: Shape) -> tuple[Tensors, Shape]:
        """Return ({name: shape}, what it gives) for what it sees."""
        inputs, found, rows = prod(seen), Tensors(), _GATES[self.cell] * self.size
        for i in range(self.layers):
            found |= {f"cell.weight_ih_l{i}": (rows, inputs), f"cell.weight_hh_l{i}": (rows, self.size)}
            found |= {f"cell.bias_ih_l{i}": (rows,), f"cell.bias_hh_l{i}": (rows,)}
            inputs = self.size
        return found, (inputs,)


Block = Mlp | Convs | Residual | Cell
Body = tuple[Block, ...]
BLOCKS: Mapping[str, type[Block]] = {block.kind: block for block in (Mlp, Convs, Residual, Cell)}


def linear_tensors(name: str, rows: int, inputs: int, *, noisy: bool = False) -> Tensors:
    """Return the tensors of one linear layer, plain or noisy."""
    if not noisy:
        return {f"{name}.weight": (rows, inputs), f"{name}.bias": (rows,)}
    sizes = {"weight": (rows, inputs), "bias": (rows,)}
    numbers = {f"{name}.{part}_{kind}": shape for part, shape in sizes.items() for kind in ("mu", "sigma")}
    return {**numbers, f"{name}.epsilon_input": (inputs,), f"{name}.epsilon_output": (rows,)}


def body_tensors(prefix: str, body: Body, seen: Shape) -> tuple[Tensors, Shape]:
    """Return ({name: shape}, what it gives) of a body that sees `seen`; an empty one gives what it sees."""
    found = Tensors()
    for i, block in enumerate(body):
        inner, seen = block.tensors(seen)
        found |= {f"{prefix}.{i}.{name}": shape for name, shape in inner.items()}
    return found, seen


def cells(*bodies: Body) -> Iterator[str]:
    """Yield the kind of each recurrent cell in the bodies, each once."""
    yield from dict.fromkeys(block.cell for body in bodies for block in body if isinstance(block, Cell))


def _norm(name: str, size: int, kind: str) -> Tensors:
    if kind == "none":
        return {}
    found: Tensors = {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    statistics: Tensors = {f"{name}.running_mean": (size,), f"{name}.running_var": (size,)}
    return found | statistics if kind == "batch" else found


def _image(seen: Shape) -> tuple[int, int, int]:
    if len(seen) != 3 or min(seen) < 1:
        raise ConfigError(f"convolutions do not fit into {'×'.join(map(str, seen))}", where="$.config.observation")
    return seen[0], seen[1], seen[2]


def _parse_body(item: Any, where: str, relaxed: bool) -> Body:
    if isinstance(item, str | Mapping) or not isinstance(item, Sequence):
        raise ConfigError("must be a list of blocks", where=where)
    return tuple(_parse_block(block, f"block {i}") for i, block in enumerate(item))


def _parse_block(item: Any, called: str) -> Block:
    if isinstance(item, Mlp | Convs | Residual | Cell):
        return item
    kind = item.get("kind") if isinstance(item, Mapping) else None
    if not isinstance(kind, str) or kind not in BLOCKS:
        raise ConfigError(f"has a {called} whose kind is not one of {', '.join(BLOCKS)}")
    try:
        return BLOCKS[kind].from_dict({name: entry for name, entry in item.items() if name != "kind"})
    except ConfigError as e:
        raise ConfigError(f"has a {called} whose {e.what}") from None


def _block_schema(block: type[Block]) -> tuple[dict[str, Any], dict[str, Any]]:
    schema, defs = object_schema(block)
    schema["properties"] = {"kind": {"const": block.kind, "description": "What it is."}, **schema["properties"]}
    about = (block.__doc__ or "").partition("\n")[0]
    return {**schema, "required": ["kind", *schema["required"]], "description": about}, defs


def _body_schema() -> Kind:
    defs: dict[str, Any] = {}
    for name, block in BLOCKS.items():
        schema, inner = _block_schema(block)
        defs |= {**inner, name: schema}
    blocks = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in BLOCKS], "description": "A block of a body."}
    return Kind(_parse_body, {"type": "array", "items": {"$ref": "#/$defs/block"}}, {**defs, "block": blocks})


# A row of blocks; an empty one changes nothing.
body_kind = _body_schema()
