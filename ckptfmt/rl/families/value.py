"""A state value saved alone."""

from torch import Tensor

from ckptfmt.families.value import ValueConfig
from ckptfmt.rl.families.blocks import State, linear
from ckptfmt.rl.families.network import BlockNetwork

__all__ = ["StateValue", "build"]


class StateValue(BlockNetwork):
    """The value of a state."""

    def __init__(self, config: ValueConfig) -> None:
        super().__init__(config)
        self.state_value = linear(self.trunk.features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map what is seen to values (batch,)."""
        return self.outputs(x)["value"]

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return `value`."""
        return {"value": self.state_value(self.features(x, state)).squeeze(-1)}


def build(config: ValueConfig) -> StateValue:
    """Return a state value, freshly initialised."""
    return StateValue(config)
