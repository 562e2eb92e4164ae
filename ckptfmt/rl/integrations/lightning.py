"""Checkpoints of a network that Lightning trains."""

import os
from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from ckptfmt.rl.integrations.adopt import Adopted
from ckptfmt.rl.integrations.periodic import PeriodicSaves
from ckptfmt.store.manager import CheckpointManager

__all__ = ["SaveCheckpoints"]


class SaveCheckpoints(Callback):
    """Save the Q-network of a Lightning module every `every` optimizer steps and at the end of the training.

    `network` is what `adopt` returned for the network inside the module. `saves` is a folder, or a
    `CheckpointManager` that says what is kept, by any metric that the module logs. `training_info` is kept
    beside what Lightning knows of the training. With several processes rank 0 writes and the others wait.
    """

    def __init__(
        self,
        saves: CheckpointManager | str | os.PathLike[str],
        network: Adopted,
        *,
        every: int = 10_000,
        environment: Mapping[str, Any] | None = None,
        training_info: Mapping[str, Any] | None = None,
    ) -> None:
        self.saves = PeriodicSaves(saves, every)
        self.network = network
        self.environment = dict(environment or {})
        self.training_info = dict(training_info or {})

    def on_train_start(self, trainer: lightning.pytorch.Trainer, pl_module: lightning.pytorch.LightningModule) -> None:
        """Count from the step at which the training goes on."""
        self.saves.start(trainer.global_step)

    def on_train_batch_end(
        self, trainer: lightning.pytorch.Trainer, pl_module: lightning.pytorch.LightningModule, *_: Any
    ) -> None:
        """Save where a multiple of `every` was reached."""
        if self.saves.is_due(trainer.global_step):
            self._save(trainer)

    def on_train_end(self, trainer: lightning.pytorch.Trainer, pl_module: lightning.pytorch.LightningModule) -> None:
        """Save the last step."""
        if self.saves.last != trainer.global_step:
            self._save(trainer)
        self.saves.finish()

    def _save(self, trainer: lightning.pytorch.Trainer) -> None:
        info = {
            "frame_idx": trainer.global_step,
            "epoch": trainer.current_epoch,
            "device_used": str(trainer.strategy.root_device),
            "trainer": f"lightning {lightning.__version__}",
        }
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.saves.save(
            trainer.global_step,
            self.network,
            self.network.config,
            {**info, **self.training_info},
            environment=self.environment,
            metrics=metrics,
        )
