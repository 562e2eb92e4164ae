"""Evaluations within a training, which are given up where it is told to stop."""

import json
from collections.abc import Callable

from torch import nn

from ckptfmt.rl.envs.make import make_env
from ckptfmt.rl.envs.played import end
from ckptfmt.rl.play import Episode, Evaluation, evaluate
from ckptfmt.rl.ranks import once
from ckptfmt.rl.training.config import TrainConfig

__all__ = ["evaluate_unless_stopped"]

# Far from the seeds of the training itself: what is played here was not learnt on.
_EVAL_SEED = 10_000


class _Stopped(Exception):
    """An evaluation was given up."""


def evaluate_unless_stopped(model: nn.Module, config: TrainConfig, stopped: Callable[[], bool]) -> Evaluation | None:
    """Play on an environment of its own, whose seeds are the same every time; return None where it is `stopped`.

    Of several processes the first one plays, and all get what came of it.
    """

    def told(answer: bytes) -> Evaluation | None:
        episodes = json.loads(answer)
        if episodes is None:
            return None
        return Evaluation(tuple(Episode(*episode) for episode in episodes), config.protocol)

    return once(lambda: _evaluate(model, config, stopped), encode=_encoded, decode=told, where=config.env)


def _encoded(evaluation: Evaluation | None) -> bytes:
    episodes = evaluation and [(episode.total, episode.steps, episode.seed) for episode in evaluation.episodes]
    return json.dumps(episodes).encode()


def _evaluate(model: nn.Module, config: TrainConfig, stopped: Callable[[], bool]) -> Evaluation | None:
    def give_up_if_stopped() -> None:
        if stopped():
            raise _Stopped

    env = make_env(config.environment)
    try:
        return evaluate(
            model,
            env,
            config.protocol,
            episodes=config.eval_episodes,
            seed=config.seed + _EVAL_SEED,
            frame_skip=config.environment.frame_skip or 1,
            on_step=give_up_if_stopped,
        )
    except _Stopped:
        return None
    finally:
        end(env)
