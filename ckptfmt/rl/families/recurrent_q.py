"""Q-values behind a recurrent cell."""

from ckptfmt.families.recurrent_q import RecurrentQConfig
from ckptfmt.rl.families.streams import StreamsNetwork

__all__ = ["build"]


def build(config: RecurrentQConfig) -> StreamsNetwork:
    """Return a recurrent Q-network, freshly initialised."""
    return StreamsNetwork(config)
