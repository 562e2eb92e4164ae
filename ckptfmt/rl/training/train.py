"""The reference trainer: deep Q-learning with any of the six parts of Rainbow (Hessel et al. 2018).

Read `Trainer.advance` from top to bottom. The gradient step is in `learner.py`, the settings are in `config.py`.
Nothing is printed here: what happens is told to `on_event`.
"""

import os
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.manifest import Lineage
from ckptfmt.rl.alike import check_alike
from ckptfmt.rl.device import parse_device
from ckptfmt.rl.envs.played import Played
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.load import check_network
from ckptfmt.rl.play import Evaluation
from ckptfmt.rl.revision import code_revision
from ckptfmt.rl.rng import seed_global
from ckptfmt.rl.state import TrainingState
from ckptfmt.rl.stored import read_tensors
from ckptfmt.rl.training.batch import Batch
from ckptfmt.rl.training.begin import Described, make_games, make_model_config, make_replay, play_all
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.evaluating import evaluate_unless_stopped
from ckptfmt.rl.training.events import Evaluated, Event, Progress
from ckptfmt.rl.training.learner import Learner
from ckptfmt.rl.training.resume import changed_settings, stored_settings
from ckptfmt.rl.training.runsaves import RunSaves
from ckptfmt.rl.training.scalars import Scalars
from ckptfmt.rl.training.takeover import check_counters, check_replay, check_settings
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Trainer"]


class Trainer:
    """One training: made from settings or by `resume`, run by `run`, stopped between two steps by `stop`."""

    def __init__(
        self,
        config: TrainConfig,
        out: str | os.PathLike[str],
        on_event: Callable[[Event], None] | None = None,
        *,
        trusted: bool = True,
    ) -> None:
        self.config, self.out, self.on_event = config, os.fspath(out), on_event or (lambda event: None)
        seed_global(config.seed)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.envs = make_games(config, trusted=trusted)
        self.model_config = make_model_config(config, self.envs[0])
        self.learner = Learner(create_model_from_config(self.model_config, parse_device(config.device)), config)
        self.replay = make_replay(config, self.model_config, self.envs[0].observation_space.dtype)
        self.rng = np.random.Generator(np.random.PCG64(config.seed))
        self.observations = [env.reset(seed=config.seed + i)[0] for i, env in enumerate(self.envs)]
        self.running = [0.0] * config.num_envs
        # What OpenAI's baselines and most since report: the mean of the last hundred episodes.
        self.returns: deque[float] = deque(maxlen=100)
        self.step = self.episodes = self.updates = 0
        self.loss: float | None = None
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
        self._stop = False
        self._scalars = Scalars(self.out, wanted=config.tensorboard)

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
            trainer._take_over(trainer._state("resume").restore(checkpoint))
            check_replay(trainer.replay, trainer.model_config.n_action)
            trainer.learner.apply_settings()
            trainer._note_resume(checkpoint, changed)
        return trainer

    def run(self) -> str:
        """Train until `total_steps` are taken or `stop` is called; return the path of the last checkpoint."""
        self.advance(self.config.total_steps)
        return self._save("last")

    def advance(self, until: int) -> None:
        """Train until so many steps are taken or `stop` is called, without the checkpoint of the end."""
        config, started, first = self.config, time.perf_counter(), self.step
        if self.owed and not self._stop:
            self._evaluate()
        while self.step < until and not self._stop:
            actions = self._choose()
            for env, played in enumerate(play_all(self.envs, actions)):
                self._keep(env, actions[env], played)
                self.step += 1
                if self.step % config.train_every == 0 and len(self.replay) >= config.learning_starts:
                    self._learn()
                if self.step % config.target_every == 0:
                    self.learner.sync_target()
            if self._due(config.log_every):
                self._report(first, started)
            if self._due(config.eval_every):
                self._evaluate()
            if self._due(config.save_every) and self.step < config.total_steps and not self._stop:
                self._save("interval")

    def stop(self) -> None:
        """End `run` after the current step, evaluations included; it saves and returns. Safe in a signal handler.

        An evaluation that was given up is played whole by the training that goes on from here.
        """
        self._stop = True

    def close(self) -> None:
        """Close the environments and the log."""
        for env in self.envs:
            env.close()
        self._scalars.close()
        self._saves.close()

    def _choose(self) -> list[int]:
        """Return an action for each environment: some at random by epsilon, the others by one pass of the network.

        Noise in the weights is drawn once for all of them.
        """
        environments = range(self.config.num_envs)
        explores = [self.rng.random() < self.config.epsilon(self.step + i) for i in environments]
        actions = [int(self.rng.integers(self.model_config.n_action)) if explores[i] else -1 for i in environments]
        if greedy := [i for i in environments if not explores[i]]:
            best = self.learner.best_actions(np.stack([self.observations[i] for i in greedy]))
            for i, action in zip(greedy, best, strict=True):
                actions[i] = action
        return actions

    def _keep(self, i: int, action: int, played: Played) -> None:
        """Take note of one step in environment `i`."""
        learned = max(-1.0, min(1.0, played.reward)) if self.config.clip_rewards else played.reward
        ends = played.terminated, played.truncated
        self.replay.add(i, self.observations[i], action, learned, *ends, played.after)
        self.running[i] += played.reward
        if any(ends):
            self.episodes += 1
            self.returns.append(self.running[i])
            self.running[i] = 0.0
        self.observations[i] = played.following

    def _learn(self) -> None:
        self._batch = self.replay.sample(self.config.batch_size, self.config.beta(self.step), self._batch)
        self.loss, errors = self.learner.update(self._batch)
        self.replay.update(self._batch.indices, errors)
        self.updates += 1

    def _evaluate(self) -> None:
        """Evaluate the network as it is now; where `stop` is called meanwhile, a resume does it."""
        self.owed = True
        evaluation = evaluate_unless_stopped(self.learner.online, self.config, lambda: self._stop)
        if evaluation is not None:
            self.owed = False
            self._note_evaluation(evaluation)

    def _note_evaluation(self, evaluation: Evaluation) -> None:
        best = self.best is None or evaluation.mean > self.best
        self.evaluations.append({"step": self.step, **evaluation.to_dict()})
        self._log({"evaluation/return_mean": evaluation.mean, "evaluation/return_std": evaluation.std})
        if best:
            self.best = evaluation.mean
            self._saves.save_best(self.step, *self._network(), state=self._state("best"), **self._origin())
        self._tell_saved()
        self.on_event(Evaluated(self.step, evaluation, best))

    def _report(self, first: int, started: float) -> None:
        speed = (self.step - first) / (time.perf_counter() - started)
        mean = float(np.mean(self.returns)) if self.returns else None
        std = float(np.std(self.returns)) if self.returns else None
        left = (self.config.total_steps - self.step) / speed
        epsilon = self.config.epsilon(self.step)
        self._log({"train/loss": self.loss, "train/return": mean, "train/epsilon": epsilon, "train/speed": speed})
        self._tell_saved()
        self.on_event(Progress(self.step, self.episodes, epsilon, self.loss, mean, std, speed, left))

    def _log(self, scalars: dict[str, float | None]) -> None:
        self._scalars.write(self.step, scalars, self.resumes[-1]["step"] + 1 if self.resumes else None)

    def _due(self, every: int) -> bool:
        """Return whether the steps just taken, one in each environment, crossed a multiple of `every`."""
        return self.step // every != (self.step - self.config.num_envs) // every

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
            "episode_idx": self.episodes,
            "updates": self.updates,
            "best_eval_reward": self.best,
            "training_config": self.config.to_dict(),
            "evaluations": list(self.evaluations),
            "device_used": str(self.learner.device),
            "resumes": list(self.resumes),
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

    def _take_over(self, counters: dict[str, Any]) -> None:
        for name, value in check_counters(counters, {name: getattr(self, name) for name in _COUNTERS}).items():
            setattr(self, name, value)

    def _note_resume(self, checkpoint: Checkpoint, changed: dict[str, list[Any]]) -> None:
        """Remember where this training goes on from, and in what it is another one."""
        info, resume, lineage = checkpoint.training_info, checkpoint.manifest.resume, checkpoint.manifest.lineage
        self.has, self.lacks = (resume.has, resume.lacks) if resume else ((), ())
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
