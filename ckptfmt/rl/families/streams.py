"""Networks of action values: one stream, or two joined as a dueling network does."""

from collections.abc import Callable

from torch import Tensor

from ckptfmt.families.streams import StreamsConfig
from ckptfmt.rl.families.blocks import State, linear, part
from ckptfmt.rl.families.joins import JOINS
from ckptfmt.rl.families.network import BlockNetwork
from ckptfmt.rl.families.noisy import reset_noise

__all__ = ["StreamsNetwork"]


class StreamsNetwork(BlockNetwork):
    """A trunk, and one head of action values or a value and an advantage stream behind it."""

    config: StreamsConfig

    def __init__(self, config: StreamsConfig) -> None:
        super().__init__(config)
        rows = config.n_action * config.per_action
        if not config.dueling:
            self.q = linear(self.trunk.features, rows, noisy=config.noisy)
            return
        self.value, self.advantage = (self._body(b, self.seen) for b in (config.value_trunk, config.advantage_trunk))
        self.value_head = linear(self.value.features, config.per_action, noisy=config.noisy)
        self.advantage_head = linear(self.advantage.features, rows, noisy=config.noisy)

    def forward(self, x: Tensor) -> Tensor:
        """Map what is seen to Q-values (batch, n_action)."""
        return self.get_q_values(x)

    def get_q_values(self, x: Tensor) -> Tensor:
        """Return (batch, n_action) expected returns."""
        return self.outputs(x)["q_values"]

    def reset_noise(self) -> None:
        """Draw new noise for every noisy layer; does nothing to a network without them."""
        reset_noise(self)

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return `q_values`."""
        return {"q_values": self.scores(x, state).squeeze(-1)}

    def scores(self, x: Tensor, state: State | None = None) -> Tensor:
        """Return (batch, n_action, rows of each action)."""
        features = self.features(x, state)
        if not self.config.dueling:
            return self.by_action(self.q(features))
        value = self.value_head(self.value(features, part(state, "value"), lead=self.lead)).unsqueeze(-2)
        advantage = self.advantage_head(self.advantage(features, part(state, "advantage"), lead=self.lead))
        join: Callable[[Tensor, Tensor], Tensor] = JOINS[self.config.dueling_join]
        return join(value, self.by_action(advantage))

    def by_action(self, rows: Tensor) -> Tensor:
        """Return the rows of a head, apart for each action."""
        return rows.view(*rows.shape[:-1], self.config.n_action, self.config.per_action)
