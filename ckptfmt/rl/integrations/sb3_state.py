"""The training around a Stable-Baselines3 DQN: stored beside its network, and put back into a model made alike."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer

from ckptfmt.rl.alike import check_alike, check_range, refuse
from ckptfmt.rl.integrations.adopt import adopt
from ckptfmt.rl.networks import load_named
from ckptfmt.rl.state import TrainingState
from ckptfmt.rl.stored import fill, read_tensors, shape_of
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["resume", "training_state"]

Array = NDArray[Any]
_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_n_calls", "exploration_rate")


class _Buffer:
    """A replay buffer of Stable-Baselines3 as arrays: the part of each that is in use."""

    def __init__(self, buffer: ReplayBuffer) -> None:
        self.buffer = buffer

    def state(self) -> dict[str, Any]:
        """Return the state by name; the arrays are not copied."""
        used = self.buffer.buffer_size if self.buffer.full else self.buffer.pos
        arrays = {name: getattr(self.buffer, name)[:used] for name in self._names()}
        return {**arrays, "pos": np.array(self.buffer.pos), "full": np.array(self.buffer.full)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take a state over; raise `WeightsError` for that of another buffer."""
        for name in ("pos", "full", *self._names()):
            if name not in state:
                refuse("is missing", f"replay/{name}")
        pos, full = int(np.asarray(state["pos"]).item()), bool(np.asarray(state["full"]).item())
        check_range(pos, 0, self.buffer.buffer_size - 1, "replay/pos")
        used = self.buffer.buffer_size if full else pos
        for name in self._names():
            target = getattr(self.buffer, name)[:used]
            if shape_of(state, name) != (target.dtype, target.shape):
                refuse("is of another size or kind", f"replay/{name}")
            fill(state, name, [(0, target)])
        self.buffer.pos, self.buffer.full = pos, full

    def _names(self) -> list[str]:
        return [name for name in _ARRAYS if isinstance(getattr(self.buffer, name, None), np.ndarray)]


def training_state(model: DQN, *, replay: bool) -> TrainingState:
    """Return what a resume of `model` needs; its games are not among it, they begin anew."""
    buffer = model.replay_buffer
    return TrainingState(
        optimizer=model.policy.optimizer,
        target=model.q_net_target,
        generators={"actions": model.action_space.np_random},
        counters={name: getattr(model, name) for name in _COUNTERS},
        replay=_Buffer(buffer) if replay and type(buffer) is ReplayBuffer else None,
        unused=("schedulers",),
    )


def resume(model: DQN, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Put a checkpoint of `SaveCheckpoints` into a model that was made with the same arguments.

    Then call `learn` with `reset_num_timesteps=False`. Returns what the checkpoint lacks of the training before: the
    games at least, which begin anew. Raises `WeightsError` where it is of another network or buffer.
    """
    with Checkpoint(path) as checkpoint:
        tensors = read_tensors(checkpoint)
        if checkpoint.config is None:
            load_named(model.q_net, tensors, "weights")
        else:
            adopt(model.q_net, model).load(tensors)
        state = training_state(model, replay=True)
        counters = state.restore(checkpoint)
        check_alike(counters, {name: getattr(model, name) for name in _COUNTERS}, "counters")
        for name in _COUNTERS:
            setattr(model, name, counters[name])
        model._last_obs = None
    return state.lacks
