"""What two networks do with the same frames, asked for by the commands that tell it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptfmt.rl.behaviour import Behaviour

__all__ = ["behaviour_of"]


def behaviour_of(a: str, b: str, trace: str) -> "Behaviour":
    """Return how the networks of two checkpoints answer the frames of a trace."""
    # This import waits: only networks that answer need torch.
    from ckptfmt.rl.behaviour import compare_behaviour

    return compare_behaviour(a, b, trace)
