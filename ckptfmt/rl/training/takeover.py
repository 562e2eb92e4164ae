"""What a resumed training takes over out of a checkpoint, checked before it is worked with.

A valid checkpoint is not yet one that this trainer wrote: its settings may ask for a thousand environments, its
counters may be text, its replay buffer may hold actions that the game does not have.
"""

import math
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ckptfmt.errors import CkptError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.implicit_quantile_q import ImplicitQuantileConfig
from ckptfmt.families.q_network import QConfig
from ckptfmt.families.quantile_q import QuantileQConfig
from ckptfmt.rl.alike import check_alike, check_range, item, refuse
from ckptfmt.rl.described import refuse_untrusted
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.training.begin import Described, describe_network, is_block
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.replay import Replay

__all__ = ["check_counters", "check_replay", "check_settings"]

# Far above what the literature trains with; more is asked for by name or by trust.
_MOST: Mapping[str, int] = {
    "num_envs": 64,
    "env_processes": 8,
    "batch_size": 16_384,
    "n_steps": 1_000,
    "eval_episodes": 10_000,
    "keep": 1000,
}
# A million frames of 84×84 take 7 GB; more is asked for by name.
_MOST_REPLAY = 12 << 30
_NETWORK = ("dueling_dqn", "distributional_dqn", "noisy_networks", "hidden_size")
# Doubles count no further.
_GREATEST_COUNT = 2**53
_NUMBER_OR_NONE = ("loss", "best")


def check_settings(config: TrainConfig, network: Any, given: Collection[str], where: str) -> None:
    """Raise `CkptError` where settings out of a checkpoint ask for more than its own tensors need.

    `network` is what its manifest says of these tensors; the settings in `given` come from the caller.
    """
    if not isinstance(network, ModelConfig | QConfig | QuantileQConfig | ImplicitQuantileConfig):
        raise CkptError("holds no network of this trainer", where=where, code="config.unknown")
    place = f"{where} $.training_info.training_config"
    # Not asked of the environment, which is not made before its description was looked at.
    stack = config.frame_stack or (4 if len(network.input_shape) == 3 else 1)
    environment = Environment(id=config.env, frame_stack=stack, screen_size=config.screen_size)
    refuse_untrusted(environment, network.input_shape, atari=False)
    _check_sizes(config, network, given, place)
    for name, most in _MOST.items():
        if name not in given and getattr(config, name) > most:
            raise _untrusted(f"{name} is {getattr(config, name):,}, more than {most:,}", place)
    # Bytes of a frame: what the network divides are pixels, one each; what it does not are floats of four.
    frame = math.prod(network.input_shape) // stack * (1 if network.input_scale != 1 else 4)
    if "replay_size" not in given and config.replay_size * frame > _MOST_REPLAY:
        raise _untrusted(f"replay_size is {config.replay_size:,}, more than {_MOST_REPLAY >> 30} GiB of frames", place)


def _check_sizes(config: TrainConfig, network: Described, given: Collection[str], place: str) -> None:
    """Raise `CkptError` where the settings make another network than the one in the checkpoint."""
    other = _untrusted("the settings make another network than the checkpoint has", place)
    if is_block(config, network.input_shape) == isinstance(network, ModelConfig):
        raise other
    if isinstance(network, ModelConfig):
        names = _NETWORK + (("n_atoms",) if network.distributional_dqn else ())
        for name in names:
            if name not in given and getattr(config, name) != getattr(network, name):
                raise _untrusted(f"{name} is {getattr(config, name)}, the network has {getattr(network, name)}", place)
        return
    made = describe_network(config, network.observation, network.n_action, network.input_scale)
    if made.replace(game=network.game).to_dict() != network.to_dict():
        raise other


def check_counters(stored: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counters of a training that has those in `live`; raise `WeightsError` for what they cannot be."""
    checked = {}
    for name, model in live.items():
        value, where = item(stored, name, "counters"), f"counters/{name}"
        if name == "evaluations":
            _check_evaluations(value, where)
        elif name in _NUMBER_OR_NONE:
            check_alike(value, 0.0, where, absent=True)
        elif isinstance(model, deque):
            check_alike(value, deque(model or [0.0], maxlen=model.maxlen), where)
        else:
            check_alike(value, model, where)
        if isinstance(model, list) and name != "evaluations" and len(value) != len(model):
            refuse(f"holds {len(value)}, must hold {len(model)}", where)
        if type(model) is int:
            check_range(value, 0, _GREATEST_COUNT, where)
        checked[name] = value
    return checked


def check_replay(replay: Replay, n_action: int) -> None:
    """Raise `WeightsError` where a buffer that was taken over could not be drawn from."""
    wrong = {
        "counts": bool((replay.counts < 0).any() or (replay.counts > _GREATEST_COUNT).any()),
        "age": bool((replay.age < 0).any() or (replay.age >= replay.frame_stack).any()),
        "actions": bool((replay.actions < 0).any() or (replay.actions >= n_action).any()),
        "leaves": not np.isfinite(replay.tree.leaves).all() or bool((replay.tree.leaves < 0).any()),
        "max_priority": not (math.isfinite(replay.max_priority) and replay.max_priority > 0),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            refuse("is out of range", f"replay/{name}")
    if len(replay) and not replay.has_drawable():
        refuse("holds no transition that can be sampled", "replay")


def _check_evaluations(value: Any, where: str) -> None:
    if not isinstance(value, list):
        refuse("must be a list", where)
    for i, entry in enumerate(value):
        mean = item(entry, "mean", f"{where}/{i}")
        # Any number, NaN too.
        check_alike(mean, 0.0, f"{where}/{i}/mean")


def _untrusted(what: str, where: str) -> CkptError:
    return CkptError(
        f"refused, {what}", where=where, fix="give trust=True where you know who made this checkpoint", code=_CODE
    )


_CODE = "resume.untrusted"
