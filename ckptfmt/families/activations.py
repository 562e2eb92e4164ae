"""The activations that networks here can have: one list, from which every other spelling of them comes."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from ckptfmt.format.record import record

__all__ = ["ACTIVATIONS", "Activation"]


@record
class Activation:
    """An activation by our name; `layer` is torch's class for it, made with `constants`."""

    name: str
    layer: str
    constants: Mapping[str, Any] = field(default_factory=dict)


# The constants are torch's own: another one would be another function, and is refused where a module says so.
ACTIVATIONS: Mapping[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("relu", "ReLU"),
        Activation("elu", "ELU", {"alpha": 1.0}),
        Activation("leaky_relu", "LeakyReLU", {"negative_slope": 0.01}),
        Activation("tanh", "Tanh"),
        Activation("gelu", "GELU", {"approximate": "none"}),
        Activation("silu", "SiLU"),
    )
}
