"""Everything that a training consists of: how it is made, saved and taken up again."""

import os
import uuid
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.manifest import Lineage
from ckptfmt.rl.alike import check_alike
from ckptfmt.rl.device import parse_device
from ckptfmt.rl.envs.played import begin, end
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.load import check_network
from ckptfmt.rl.revision import code_revision
from ckptfmt.rl.rng import seed_global
from ckptfmt.rl.state import TrainingState
from ckptfmt.rl.stored import read_tensors
from ckptfmt.rl.training.batch import Batch
from ckptfmt.rl.training.begin import Described, make_games, make_model_config, make_replay
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.events import Event
from ckptfmt.rl.training.learner import Learner, noisy_layers
from ckptfmt.rl.training.resume import changed_settings, stored_settings
from ckptfmt.rl.training.runsaves import RunSaves
from ckptfmt.rl.training.scalars import Scalars
from ckptfmt.rl.training.takeover import check_counters, check_replay, check_settings
from ckptfmt.rl.training.team import Team
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Training"]


class Training:
    """The network and its learner, the games, the replay buffer, the counters; where it is saved."""

    def __init__(
        self,
        config: TrainConfig,
        out: str | os.PathLike[str],
        on_event: Callable[[Event], None] | None = None,
        *,
        trusted: bool = True,
    ) -> None:
        self.config, self.out, self.on_event = config, os.fspath(out), on_event or (lambda event: None)
        self.team = Team()
        # The same network for all, and for each process games and draws of its own.
        seed = config.seed + self.team.rank * config.num_envs
        seed_global(config.seed)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.envs = make_games(config, trusted=trusted)
        self.model_config = make_model_config(config, self.envs[0])
        network = create_model_from_config(self.model_config, parse_device(config.device))
        for layer in noisy_layers(network):
            # Descriptions of networks of blocks do not say it: it is how they begin, and no part of them.
            layer.reset_sigma(config.noisy_std_init)
        self.learner = Learner(network, config, self.team)
        if self.team.rank:
            seed_global(seed)
        dtype = self.envs[0].observation_space.dtype
        self.replay = make_replay(config, self.model_config, dtype, seed, self.learner.device)
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.observations = [begin(env, seed + i) for i, env in enumerate(self.envs)]
        self.running = [0.0] * config.num_envs
        # What OpenAI's baselines and most since report: the mean of the last hundred episodes.
        self.returns: deque[float] = deque(maxlen=100)
        self.step = self.episodes = self.updates = 0
        self._loss: float | Tensor | None = None
        self.best: float | None = None
        self.owed = False
        self.evaluations: list[dict[str, Any]] = []
        self.parent: str | None = None
        self.run_id = uuid.uuid4().hex
        self.has: tuple[str, ...] = ()
        self.lacks: tuple[str, ...] = ()
        self.changed: dict[str, list[Any]] = {}
        self.resumes: list[dict[str, Any]] = []
        self._saves = RunSaves(self.out, config.keep, compress=config.compress)
        self._batch: Batch | None = None
        self._stop = self._filled = False
        self._scalars = Scalars(self.out, wanted=config.tensorboard and not self.team.rank)

    @property
    def loss(self) -> float | None:
        """The loss of the last update; None before the first one. A GPU that is still computing it is waited for."""
        return None if self._loss is None else float(self._loss)

    @loss.setter
    def loss(self, loss: float | Tensor | None) -> None:
        self._loss = loss

    @classmethod
    def resume(
        cls,
        checkpoint_path: str | os.PathLike[str],
        out: str | os.PathLike[str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        *,
        trust: bool = False,
        **changes: Any,
    ) -> Self:
        """Go on from a checkpoint of a trainer, exactly where it lacks nothing; `changes` are new settings.

        Settings that ask for far more than the checkpoint's own tensors need, and environments that name a module,
        are refused without `trust`.

        The trainer's `has` and `lacks` then name what was found, `changed` is {setting: [before, after]} of what
        makes it another training than the one before: it goes on exactly where both are empty. Raises `CkptError`
        for a setting that a resume cannot change.
        """
        with Checkpoint(checkpoint_path) as checkpoint:
            folder = os.fspath(out) if out is not None else os.path.dirname(os.path.abspath(checkpoint.path))
            before = stored_settings(checkpoint)
            config = before.replace(**changes)
            changed = changed_settings(before, config, checkpoint.path)
            if not trust:
                check_settings(config, checkpoint.config, changes, checkpoint.path)
            if checkpoint.network is not None:
                check_network(checkpoint, checkpoint.network)
            trainer = cls(config, folder, on_event, trusted=trust or "env" in changes)
            weights = read_tensors(checkpoint)
            check_alike(weights, trainer.learner.online.state_dict(), WEIGHTS)
            trainer.learner.online.load_state_dict(weights)
            state = trainer._state("resume")
            trainer._take_over(state.restore(checkpoint), () if state.is_own else _OWN)
            check_replay(trainer.replay, trainer.model_config.n_action)
            trainer.learner.apply_settings()
            trainer._note_resume(checkpoint, changed, state.lacks)
        return trainer

    def close(self) -> None:
        """Close the environments and the log."""
        for env in self.envs:
            end(env)
        self._scalars.close()
        self._saves.close()

    def _save(self, kind: str) -> str:
        metrics = {"return": self.evaluations[-1]["mean"]} if self.evaluations else {}
        state = self._state(kind)
        path = self._saves.save(self.step, kind, *self._network(), state=state, metrics=metrics, **self._origin())
        self._tell_saved()
        return path

    def _tell_saved(self) -> None:
        for saved in self._saves.finished():
            self.on_event(saved)

    def _network(self) -> tuple[nn.Module, Described, dict[str, Any]]:
        info = {
            "frame_idx": self.step,
            "episode_idx": self.team.total(self.episodes),
            "updates": self.updates,
            "best_eval_reward": self.best,
            "training_config": self.config.to_dict(),
            "evaluations": list(self.evaluations),
            "device_used": str(self.learner.device),
            "resumes": list(self.resumes),
            **({"ranks": self.team.size} if self.team.size > 1 else {}),
        }
        return self.learner.online, self.model_config, info

    def _origin(self) -> dict[str, Any]:
        """Return what else the manifest says: the environment, how well it plays, where it comes from."""
        kind = "resumed" if self.parent else "trained"
        return {
            "environment": self.config.environment.to_dict(),
            "evaluation": self.evaluations[-1:],
            "lineage": Lineage(kind=kind, parent=self.parent, run_id=self.run_id, code=code_revision()),
        }

    def _state(self, kind: str) -> TrainingState:
        """Return the live objects as a checkpoint of this kind holds them; a resume needs them all."""
        replay = kind == "resume" or self.config.save_replay in ("always", kind)
        return TrainingState(
            optimizer=self.learner.optimizer,
            target=self.learner.target,
            generators={"exploration": self.rng},
            environments=self.envs,
            counters={name: getattr(self, name) for name in _COUNTERS},
            replay=self.replay if replay else None,
            unused=("schedulers",),
        )

    def _take_over(self, counters: dict[str, Any], but: Collection[str]) -> None:
        for name, value in check_counters(counters, {name: getattr(self, name) for name in _COUNTERS}).items():
            if name not in but:
                setattr(self, name, value)

    def _note_resume(self, checkpoint: Checkpoint, changed: dict[str, list[Any]], lacks: tuple[str, ...]) -> None:
        """Remember where this training goes on from, and in what it is another one."""
        info, resume, lineage = checkpoint.training_info, checkpoint.manifest.resume, checkpoint.manifest.lineage
        self.has, self.lacks = resume.has if resume else (), lacks
        device = info.get("device_used")
        if device != str(self.learner.device):
            changed = {**changed, "device": [device, str(self.learner.device)]}
        self.changed = changed
        self.parent = checkpoint.manifest.manifest_digest
        self.run_id = lineage.run_id if lineage and lineage.run_id else self.run_id
        resumed = {"step": self.step, "changed": changed, "lacks": list(self.lacks)}
        before = info.get("resumes")
        self.resumes = [*(before if isinstance(before, list) else ()), resumed]


_COUNTERS = ("step", "episodes", "updates", "loss", "best", "owed", "running", "returns", "observations", "evaluations")
# What a process keeps that goes on with the counters of another one: its games have just begun.
_OWN = ("episodes", "running", "returns", "observations")
