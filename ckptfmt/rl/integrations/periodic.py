"""Checkpoints every so many steps of a trainer that is not ours."""

import os
import uuid
from collections.abc import Mapping
from typing import Any

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.format.manifest import Lineage
from ckptfmt.rl.networks import HasTensors, named_tensors
from ckptfmt.rl.ranks import once
from ckptfmt.rl.revision import code_revision
from ckptfmt.rl.save import refuse_nan
from ckptfmt.rl.state import TrainingState
from ckptfmt.store.manager import CheckpointManager

__all__ = ["PeriodicSaves"]


class PeriodicSaves:
    """Save through a `CheckpointManager`, or into a folder that keeps everything, every `every` steps.

    All checkpoints of one object carry the same run id. Under torch.distributed rank 0 writes.
    """

    def __init__(self, saves: CheckpointManager | str | os.PathLike[str], every: int) -> None:
        if every < 1:
            raise ValueError(f"every is {every}, it must be at least 1")
        self.manager = saves if isinstance(saves, CheckpointManager) else CheckpointManager(saves)
        self.every = every
        self.last = 0
        self.run_id = uuid.uuid4().hex

    def start(self, step: int) -> None:
        """Count from `step`: what was trained before is not due again."""
        self.last = step

    def is_due(self, step: int) -> bool:
        """Return whether a multiple of `every` was reached since the save before."""
        # Not `step % every == 0`: vectors of environments step over multiples.
        return step // self.every > self.last // self.every

    def save(
        self,
        step: int,
        network: HasTensors,
        config: ModelConfig | None,
        training_info: Mapping[str, Any],
        *,
        environment: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        state: TrainingState | None = None,
    ) -> None:
        """Save the checkpoint of `step`, replacing one that a run before left there.

        A `state` is that of rank 0. Raises `WeightsError` for NaN or infinite weights, and what
        `CheckpointManager.save` raises.
        """
        tensors, path = named_tensors(network), self.manager.path(step)

        captured = state.capture() if state else None

        def write() -> None:
            refuse_nan(tensors, path, "go on from the checkpoint before, for example with a lower learning rate")
            lineage = Lineage(kind="trained", run_id=self.run_id, code=code_revision())
            self.manager.save(
                step,
                tensors,
                config,
                training_info,
                metrics=metrics,
                overwrite=True,
                environment=environment,
                lineage=lineage,
                state=captured.state if captured else None,
                replay=captured.replay if captured else None,
                resume=captured.resume if captured else None,
            )

        once(write, encode=lambda _: b"", decode=lambda _: None, where=path)
        self.last = step

    def finish(self) -> None:
        """Wait for saves in the background and raise the error of one that failed."""
        self.manager.wait()
