"""Which weights of a network take flattened images, and of which size: there the order of columns is one of pixels."""

from collections.abc import Mapping
from math import prod
from typing import Any

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.blocks import Body, Convs, Residual
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.network import NetworkConfig
from ckptfmt.families.registry import Shape

__all__ = ["flattened"]

_WEIGHTS = ("weight", "weight_mu", "weight_sigma", "cell.weight_ih_l0")


def flattened(config: Any) -> Mapping[str, Shape]:
    """Return (channels, height, width) of what each weight takes that lies behind convolutions, by its name."""
    tensors = Blueprint.of(config).tensors()
    if isinstance(config, ModelConfig):
        seen = config.encoder.feature_map(config.input_shape)
        return {name: seen for name, shape in tensors.items() if _takes(name, shape, seen) and ".0." in name}
    if not isinstance(config, NetworkConfig):
        return {}
    found: dict[str, Shape] = {}
    shared = _behind("trunk", config.trunk, config.observation)
    behind = ((name.removesuffix("_trunk"), body) for name, body in config.bodies() if name != "trunk")
    bodies = [shared, *(_behind(name, body, shared[2]) for name, body in behind)]
    for prefix, image, _ in bodies:
        if image is not None:
            inside = {name: shape for name, shape in tensors.items() if _is_in(name, prefix)}
            found |= {name: image for name, shape in inside.items() if _takes(name, shape, image)}
    # A target copy takes what the network does.
    return found | {name: found[own] for name in tensors if (own := name.removeprefix("target.")) in found}


def _behind(name: str, body: Body, seen: Shape) -> tuple[str, Shape | None, Shape]:
    """Return where the first layer behind the convolutions of a body lies, what it takes, and what the body gives."""
    # Three dimensions are an image (channels, height, width); behind a trunk it is the trunk that flattens.
    first: tuple[str, Shape | None] = (name, seen if len(seen) == 3 and not body and name != "trunk" else None)
    for i, block in enumerate(body):
        if len(seen) == 3 and not isinstance(block, Convs | Residual):
            first = (f"{name}.{i}", seen)
        _, seen = block.tensors(seen)
    return *first, seen


def _is_in(name: str, prefix: str) -> bool:
    critic = prefix.removeprefix("critic")
    if prefix.startswith("critic"):
        return name.startswith("critics.") and f".body{critic}." in name
    return name.startswith(f"{prefix}.")


def _takes(name: str, shape: Shape, image: Shape) -> bool:
    return len(shape) == 2 and shape[1] == prod(image) and name.endswith(_WEIGHTS)
