"""The reference trainer: deep Q-learning with any of the six parts of Rainbow (Hessel et al. 2018).

Read `Trainer.advance` from top to bottom. The gradient step is in `learner.py`, the settings are in `config.py`, and
what a training consists of is in `whole.py`. Nothing is printed here: what happens is told to `on_event`.
"""

import math
import time

import numpy as np

from ckptfmt.rl.envs.played import Played
from ckptfmt.rl.play import Evaluation
from ckptfmt.rl.training.begin import play_all
from ckptfmt.rl.training.evaluating import evaluate_unless_stopped
from ckptfmt.rl.training.events import Evaluated, Progress
from ckptfmt.rl.training.whole import Training

__all__ = ["Trainer"]


class Trainer(Training):
    """One training: made from settings or by `resume`, run by `run`, stopped between two steps by `stop`.

    Under torchrun it is one of several processes that train one network, each with games and a replay buffer of its
    own: they go on as one with as many times the games and the batch, and steps count the actions of all.
    """

    def run(self) -> str:
        """Train until `total_steps` are taken or `stop` is called; return the path of the last checkpoint."""
        self.advance(self.config.total_steps)
        return self._save("last")

    def advance(self, until: int) -> None:
        """Train until so many steps are taken or `stop` is called, without the checkpoint of the end."""
        config, started, first = self.config, time.perf_counter(), self.step
        # The evaluation that was given up when the training before this one was stopped.
        if self.owed and not self._stopped():
            self._evaluate()
        while self.step < until and not self._stopped():
            actions = self._choose()
            for env, played in enumerate(play_all(self.envs, actions, self._count_all if config.overlap else None)):
                self._keep(env, actions[env], played)
                if not config.overlap:
                    self._count(self.team.size)
            if self._due(config.log_every):
                self._report(first, started)
            if self._due(config.eval_every):
                self._evaluate()
            # The last step has a checkpoint of its own, which `run` saves.
            if self._due(config.save_every) and self.step < config.total_steps and not self._stopped():
                self._save("interval")

    def stop(self) -> None:
        """End `run` after the current step, evaluations included; it saves and returns. Safe in a signal handler.

        An evaluation that was given up is played whole by the training that goes on from here.
        """
        self._stop = True

    def _choose(self) -> list[int]:
        """Return an action for each environment: some at random by epsilon, the others by one pass of the network.

        Noise in the weights is drawn once for all of them.
        """
        environments = range(self.config.num_envs)
        number, ranks = self.step + self.team.rank, self.team.size
        explores = [self.rng.random() < self.config.epsilon(number + i * ranks) for i in environments]
        actions = [int(self.rng.integers(self.model_config.n_action)) if explores[i] else -1 for i in environments]
        if greedy := [i for i in environments if not explores[i]]:
            best = self.learner.best_actions(np.stack([self.observations[i] for i in greedy]))
            for i, action in zip(greedy, best, strict=True):
                actions[i] = action
        return actions

    def _keep(self, i: int, action: int, played: Played) -> None:
        """Take note of one step in environment `i`."""
        # Mnih et al. 2015: one learning rate for games whose scores differ by thousands.
        learned = max(-1.0, min(1.0, played.reward)) if self.config.clip_rewards else played.reward
        ends = played.terminated, played.truncated
        self.replay.add(i, self.observations[i], action, learned, *ends, played.after)
        self.running[i] += played.reward
        if any(ends):
            self.episodes += 1
            self.returns.append(self.running[i])
            self.running[i] = 0.0
        self.observations[i] = played.following

    def _count_all(self) -> None:
        """Count the actions that every environment is taking, and learn before they are kept."""
        for _ in self.envs:
            self._count(self.team.size)

    def _count(self, actions: int) -> None:
        """Count actions, one of each process, and learn as often as it is due by now."""
        before, self.step = self.step, self.step + actions
        for _ in range(before // self.config.train_every, self.step // self.config.train_every):
            if self._has_enough():
                self._learn()
        if before // self.config.target_every != self.step // self.config.target_every:
            self.learner.sync_target()

    def _has_enough(self) -> bool:
        """Return whether the replay buffers of all processes hold what is learnt from; once they do, they do."""
        if not self._filled:
            enough = len(self.replay) * self.team.size >= self.config.learning_starts
            self._filled = self.team.total(int(enough)) == self.team.size
        return self._filled

    def _stopped(self) -> bool:
        """Return whether any process was told to stop; all ask at the same places, and are told the same."""
        if stopped := self.team.total(int(self._stop)) > 0:
            self._stop = True
        return stopped

    def _learn(self) -> None:
        self._batch = self.replay.sample(self.config.batch_size, self.config.beta(self.step), self._batch)
        self.loss, errors = self.learner.update(self._batch)
        if self.config.prioritized_replay:
            self.replay.update(self._batch.indices, errors.cpu().numpy())
        self.updates += 1

    def _evaluate(self) -> None:
        """Evaluate the network as it is now; where `stop` is called meanwhile, a resume does it."""
        self.owed = True
        evaluation = evaluate_unless_stopped(self.learner.online, self.config, lambda: self._stop)
        if evaluation is not None:
            self.owed = False
            self._note_evaluation(evaluation)

    def _note_evaluation(self, evaluation: Evaluation) -> None:
        # No number is greater than NaN, which an environment may have returned before such numbers were refused.
        known = -math.inf if self.best is None or math.isnan(self.best) else self.best
        best = evaluation.mean > known
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
        epsilon, episodes = self.config.epsilon(self.step), self.team.total(self.episodes)
        self._log({"train/loss": self.loss, "train/return": mean, "train/epsilon": epsilon, "train/speed": speed})
        self._tell_saved()
        self.on_event(Progress(self.step, episodes, epsilon, self.loss, mean, std, speed, left))

    def _log(self, scalars: dict[str, float | None]) -> None:
        self._scalars.write(self.step, scalars, self.resumes[-1]["step"] + 1 if self.resumes else None)

    def _due(self, every: int) -> bool:
        """Return whether the steps just taken, one in each environment, crossed a multiple of `every`."""
        return self.step // every != (self.step - self.config.num_envs * self.team.size) // every
