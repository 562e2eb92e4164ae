"""The checkpoints of one training, in its folder."""

import os
import tempfile
from queue import Empty, SimpleQueue
from typing import Any

from torch import nn

from ckptfmt.errors import TargetExists, WriteError
from ckptfmt.format.files import REPLAY, STATE
from ckptfmt.format.manifest import Manifest
from ckptfmt.remote.url import is_url
from ckptfmt.rl.networks import named_tensors
from ckptfmt.rl.peers import Ranks
from ckptfmt.rl.ranks import world_size
from ckptfmt.rl.save import refuse_nan, save_model_checkpoint
from ckptfmt.rl.state import TrainingState
from ckptfmt.rl.training.begin import Described
from ckptfmt.rl.training.events import Saved
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.store.write.failure import reported

__all__ = ["RunSaves"]


class RunSaves:
    """The `keep` newest checkpoints, by step, and beside them the best one, each kept for itself.

    What lies in the folder counts, so that a resumed training removes what the one before it left. Checkpoints
    without a replay buffer are written while the training goes on; the others would need its memory twice.
    Of several processes each writes what is its own.
    """

    def __init__(self, folder: str, keep: int, *, compress: bool = False) -> None:
        self._compress = compress
        self._best = os.path.join(folder, "best")
        # Said before the training begins, and not when it is saved, or better for the first time.
        _check_folder(folder)
        if os.path.islink(self._best):
            raise TargetExists(
                "is a link, and the best checkpoint is not written through it", where=self._best, fix="remove the link"
            )
        self._peers = Ranks() if world_size() > 1 else None
        common: dict[str, Any] = {"keep_last": keep, "on_saved": self._note, "compress": compress, "peers": self._peers}
        self._now = CheckpointManager(folder, **common)
        self._later = CheckpointManager(folder, **common, background=True)
        self._kinds: dict[int, str] = {}
        self._done: SimpleQueue[Saved] = SimpleQueue()

    def save(
        self,
        step: int,
        kind: str,
        model: nn.Module,
        config: Described,
        training_info: dict[str, Any],
        *,
        state: TrainingState,
        metrics: dict[str, float],
        **parts: Any,
    ) -> str:
        """Save the checkpoint of a step in place of one that is there; return its path. "last" is on the disk then.

        Raises `WeightsError` for NaN or infinite weights, and what a save before this one met in the background.
        """
        tensors, path = named_tensors(model), self._now.path(step)
        refuse_nan(tensors, path)
        captured = state.capture()
        files = captured.pieces(self._peers.rank) if self._peers else captured.files()
        self._kinds[step] = kind
        later = kind == "interval" and captured.replay is None
        if not later:
            self._later.wait()
        (self._later if later else self._now).save(
            step,
            tensors,
            config,
            training_info,
            metrics=metrics,
            overwrite=True,
            state=files[STATE],
            replay=files.get(REPLAY),
            resume=captured.resume,
            **parts,
        )
        return path

    def save_best(
        self, step: int, model: nn.Module, config: Described, training_info: dict[str, Any], **parts: Any
    ) -> None:
        """Save what is the best so far in place of what was."""
        manifest = save_model_checkpoint(
            model, config, training_info, self._best, overwrite=True, compress=self._compress, **parts
        )
        self._done.put(Saved(self._best, step, "best", manifest.manifest_digest))

    def finished(self) -> list[Saved]:
        """Return the saves that came to be on the disk since this was asked last."""
        saved = []
        while True:
            try:
                saved.append(self._done.get_nowait())
            except Empty:
                return saved

    def close(self) -> None:
        """Finish what is being saved and raise the error of a save that failed."""
        self._later.close()

    def _note(self, step: int, manifest: Manifest) -> None:
        self._done.put(Saved(self._now.path(step), step, self._kinds.pop(step), manifest.manifest_digest))


def _check_folder(folder: str) -> None:
    """Raise `WriteError` where checkpoints cannot be saved in a folder, which need not be there yet."""
    if is_url(folder):
        if world_size() > 1:
            raise WriteError(
                "is in a store, where ranks cannot write together",
                where=folder,
                fix="train into a folder that all of them share, and push the checkpoints",
                code="write.ranks-far",
            )
        # The import that waits: few train into a store. It is asked, as nobody knows else whether it lets one in.
        from ckptfmt.store.remote.write import far_folder

        far_folder(folder).list()
        return
    place = os.path.abspath(folder)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise TargetExists("is a file, and checkpoints are saved in a folder", where=place, fix="choose another folder")
    # Where a folder may be made is known once one is made: root may write to /proc, where nothing can be.
    with reported(folder):
        os.rmdir(tempfile.mkdtemp(prefix=".ckptfmt-", dir=place))
