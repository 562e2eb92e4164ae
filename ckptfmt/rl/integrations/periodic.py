"""Checkpoints every so many steps of a trainer that is not ours."""

import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.format.files import REPLAY, STATE, WEIGHTS
from ckptfmt.format.manifest import Lineage, Resume
from ckptfmt.remote.url import is_url
from ckptfmt.rl.networks import HasTensors
from ckptfmt.rl.peers import Ranks, ranks_now
from ckptfmt.rl.ranks import once, world_size
from ckptfmt.rl.revision import code_revision
from ckptfmt.rl.save import gathered_from_ranks, held_by_rank, refuse_nan
from ckptfmt.rl.state import TrainingState
from ckptfmt.store.manager import CheckpointManager

__all__ = ["PeriodicSaves"]


class PeriodicSaves:
    """Save through a `CheckpointManager`, or into a folder that keeps everything, every `every` steps.

    All checkpoints of one object carry the same run id. Under torch.distributed all ranks save together, each its own
    state; in a store rank 0 writes what the others give it.
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

        A `state` is that of each rank; what is said beside it is what rank 0 says. Raises `WeightsError` for NaN or
        infinite weights, and what `CheckpointManager.save` raises.
        """
        path = self.manager.path(step)

        def check(weights: Mapping[str, Any]) -> None:
            refuse_nan(weights, path, "go on from the checkpoint before, for example with a lower learning rate")

        def write(files: Mapping[str, Any], resume: Resume | None) -> None:
            self.manager.save(
                step,
                files[WEIGHTS],
                config,
                training_info,
                metrics=metrics,
                overwrite=True,
                environment=environment,
                lineage=Lineage(kind="trained", run_id=self.run_id, code=code_revision()),
                state=files.get(STATE),
                replay=files.get(REPLAY),
                resume=resume,
            )

        if self._is_together() and (ranks := ranks_now()) is not None:
            write(*held_by_rank(network, state, ranks, path, check))
        else:
            self._save_by_one(network, state, check, write)
        self.last = step

    def _save_by_one(
        self,
        network: HasTensors,
        state: TrainingState | None,
        check: Callable[[Mapping[str, Any]], None],
        write: Callable[[Mapping[str, Any], Resume | None], None],
    ) -> None:
        path = self.manager.folder
        given, resume = gathered_from_ranks(network, state, path)

        def write_once() -> None:
            check(given.files[WEIGHTS])
            write(given.files, resume)

        once(write_once, encode=lambda _: b"", decode=lambda _: None, where=path, own=given.own)

    def _is_together(self) -> bool:
        """Return whether all ranks write, and see to it that the manager talks to them; in a store rank 0 writes."""
        if world_size() == 1 or is_url(self.manager.folder):
            return False
        known = self.manager.peers
        if not isinstance(known, Ranks) or not known.usable:
            # Of its own: the manager may talk in the background while this thread does.
            self.manager.peers = Ranks()
        return True

    def finish(self) -> None:
        """Wait for saves in the background and raise the error of one that failed."""
        self.manager.wait()
