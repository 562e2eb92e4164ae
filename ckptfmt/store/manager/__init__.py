"""A folder of checkpoints of one run: saved by step, the best and the latest found again, old ones removed."""

from ckptfmt.store.manager.manager import CheckpointManager
from ckptfmt.store.manager.retention import Retention

__all__ = ["CheckpointManager", "Retention"]
