"""Actor-critics with a recurrent cell, which are built as those without."""

from ckptfmt.rl.families.actor_critic import build

__all__ = ["build"]
