"""Fixed quantiles of the return of each action."""

from torch import Tensor

from ckptfmt.families.quantile_q import QuantileQConfig
from ckptfmt.rl.families.blocks import State
from ckptfmt.rl.families.streams import StreamsNetwork

__all__ = ["QuantileQ", "build"]


class QuantileQ(StreamsNetwork):
    """`quantiles` (batch, n_action, n_quantiles); Q-values are their mean."""

    config: QuantileQConfig

    def forward(self, x: Tensor) -> Tensor:
        """Map what is seen to quantiles (batch, n_action, n_quantiles)."""
        return self.scores(x)

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return `quantiles` and `q_values`."""
        quantiles = self.scores(x, state)
        return {"quantiles": quantiles, "q_values": quantiles.mean(-1)}

    def by_action(self, rows: Tensor) -> Tensor:
        """Return the rows of a head, apart for each action."""
        if self.config.order == "action":
            return super().by_action(rows)
        return rows.view(*rows.shape[:-1], self.config.n_quantiles, self.config.n_action).transpose(-1, -2)


def build(config: QuantileQConfig) -> QuantileQ:
    """Return a network of fixed quantiles, freshly initialised."""
    return QuantileQ(config)
