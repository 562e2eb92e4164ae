"""Evaluations within a training, which are given up where it is told to stop."""

from collections.abc import Callable

from torch import nn

from ckptfmt.rl.envs.make import make_env
from ckptfmt.rl.play import Evaluation, evaluate
from ckptfmt.rl.training.config import TrainConfig

__all__ = ["evaluate_unless_stopped"]

# Far from the seeds of the training itself: what is played here was not learnt on.
_EVAL_SEED = 10_000


class _Stopped(Exception):
    """An evaluation was given up."""


def evaluate_unless_stopped(model: nn.Module, config: TrainConfig, stopped: Callable[[], bool]) -> Evaluation | None:
    """Play on an environment of its own, whose seeds are the same every time; return None where it is `stopped`."""

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
        env.close()
