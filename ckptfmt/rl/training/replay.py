"""The replay buffer: a ring of single frames, of which stacks and n-step returns are made when they are drawn.

Each environment has a ring of its own, so that its frames lie in the order in which they were seen. At the end of
an episode the frame behind the last action is kept as one more entry, which is no transition. The whole
state is arrays; two buffers with the same state draw the same batches.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.rl.rng import pcg64_words, restore_pcg64
from ckptfmt.rl.stored import fill, shape_of
from ckptfmt.rl.training.batch import Batch
from ckptfmt.rl.training.frames import DeviceFrames
from ckptfmt.rl.training.sumtree import SumTree

__all__ = ["Replay"]

Array = NDArray[Any]


class Replay:
    """A ring of `capacity` frames, (channels, height, width) or (features,), shared out among environments.

    With a `device` there is a copy of the frames on it, of which the stacks that are drawn are made.
    """

    def __init__(
        self,
        capacity: int,
        frame_shape: tuple[int, ...],
        *,
        frame_dtype: Any = np.uint8,
        frame_stack: int = 4,
        num_envs: int = 1,
        n_steps: int = 1,
        gamma: float = 0.99,
        prioritized: bool = False,
        alpha: float = 0.5,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.length = capacity // num_envs
        # A whole stack, the steps ahead of it, and the two entries that an episode's end takes.
        if self.length < frame_stack + n_steps + 2:
            raise CkptError(f"a replay buffer of {capacity} frames is too small", where="replay", code="replay.size")
        self.frame_stack, self.num_envs, self.n_steps, self.gamma = frame_stack, num_envs, n_steps, gamma
        self.prioritized, self.alpha = prioritized, alpha
        slots = self.length * num_envs
        self.frames = np.zeros((slots, *frame_shape), dtype=frame_dtype)
        self.actions = np.zeros(slots, dtype=np.int64)
        self.rewards = np.zeros(slots, dtype=np.float32)
        self.terminated = np.zeros(slots, dtype=bool)
        self.done = np.zeros(slots, dtype=bool)
        self.final = np.zeros(slots, dtype=bool)
        self.age = np.zeros(slots, dtype=np.int64)
        self.counts = np.zeros(num_envs, dtype=np.int64)
        self.tree = SumTree(slots)
        self.max_priority = 1.0
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self._there = DeviceFrames(self.frames, device) if device is not None else None

    def __len__(self) -> int:
        """Return how many entries can be drawn or lie among those that can."""
        return int(np.maximum(self._newest() - self._oldest(), 0).sum())

    def has_drawable(self) -> bool:
        """Return whether any entry would be drawn; a draw looks for one until it finds it."""
        if self.prioritized:
            return self.tree.total > 0
        pairs = zip(self._oldest().tolist(), self._newest().tolist(), strict=True)
        places = (env * self.length + np.arange(*pair) % self.length for env, pair in enumerate(pairs))
        return any(not self.final[slots].all() for slots in places)

    def add(
        self, env: int, observation: Array, action: int, reward: float, terminated: bool, truncated: bool, after: Array
    ) -> None:
        """Keep one step of environment `env`: only the newest frame of the two stacks, `after` at an episode's end."""
        self._append(env, observation, action, reward, terminated, terminated or truncated, final=False)
        if terminated or truncated:
            self._append(env, after, 0, 0.0, False, False, final=True)

    def sample(self, size: int, beta: float = 1.0, reuse: Batch | None = None) -> Batch:
        """Draw `size` transitions with replacement; `beta` is the exponent of the correcting weights.

        The stacks of a batch given as `reuse` are overwritten: fresh memory costs more than the draw.
        """
        if len(self) == 0:
            raise CkptError("holds no transition that can be sampled yet", where="replay", code="replay.empty")
        slots, weights = self._draw_prioritized(size, beta) if self.prioritized else self._draw_uniform(size)
        steps, returns, terminated = self._look_ahead(slots)
        both = np.stack([slots, self._shift(slots, steps)], axis=1)
        return Batch(
            stacks=self._stacks(both, reuse.stacks if reuse else None),
            actions=self.actions[slots],
            returns=returns,
            discounts=np.where(terminated, 0.0, self.gamma**steps).astype(np.float32),
            weights=weights.astype(np.float32),
            indices=slots,
        )

    def update(self, indices: Array, errors: Array) -> None:
        """Set the priorities of drawn transitions from their absolute errors."""
        if not self.prioritized:
            return
        # Schaul et al. 2016, section 3.3: what was learnt perfectly is still drawn now and then.
        priorities = np.abs(errors.astype(np.float64)) + 1e-6
        self.max_priority = max(self.max_priority, float(priorities.max()))
        self.tree.update(indices, priorities**self.alpha)

    def state(self) -> dict[str, Array]:
        """Return the whole state as arrays, of each ring the part in use: views, to be stored before the next step."""
        places = itertools.product(range(self.num_envs), _STORED)
        rings = {_name(env, name): self._ring(env, name)[: self._used(env)] for env, name in places}
        return {
            **rings,
            "counts": self.counts,
            "max_priority": np.array(self.max_priority),
            "rng": pcg64_words(self.rng),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` of a buffer gave, whose capacity may have been another one.

        A smaller buffer keeps the newest frames. Of a `StoredArrays` every part goes to its place as it is read.
        Raises `WeightsError` for other frames or environments.
        """
        dtype, shape = _shape(state, "counts")
        if dtype != np.int64 or shape != (self.num_envs,):
            raise _other_replay(f"it is of {math.prod(shape)} environments, not of {self.num_envs}")
        counts = np.array(state["counts"])
        leaves = np.zeros(self.num_envs * self.length)
        for env, count in enumerate(counts.tolist()):
            rows = next(iter(_shape(state, _name(env, _LEAVES))[1]), 0)
            for name in _STORED:
                ring = leaves[self._slots(env)] if name == _LEAVES else self._ring(env, name)
                self._restore_ring(env, count, rows, ring, state, _name(env, name))
            self._forget_torn(env, leaves[self._slots(env)], count)
            if self._there is not None:
                self._there.note(range(env * self.length, env * self.length + self._used(env)))
        self.tree.restore(leaves)
        self.max_priority = float(_read(state, "max_priority", np.float64, ()))
        restore_pcg64(self.rng, _read(state, "rng", np.uint64, (6,)), "replay/rng")

    def _restore_ring(
        self, env: int, count: int, rows: int, ring: Array, state: Mapping[str, Array], name: str
    ) -> None:
        """Lay out what is stored of a ring in this one, and set how many entries it has seen."""
        dtype, shape = _shape(state, name)
        if (dtype, *shape) != (ring.dtype, rows, *ring.shape[1:]) or count < rows or 0 == rows < count:
            raise _other_replay(f"{name} is {dtype}{shape}")
        kept = min(rows, self.length)
        if kept == rows and (count == rows or rows == self.length):
            fill(state, name, [(0, ring[:rows])])
            self.counts[env] = count
            return
        start, size = (count - kept) % rows, ring[:1].nbytes
        first = min(kept, rows - start)
        fill(state, name, [(0, ring[first:kept]), (start * size, ring[:first])])
        self.counts[env] = kept

    def _forget_torn(self, env: int, leaves: Array, count: int) -> None:
        """Where a ring was laid out anew, let no entry be drawn whose stack reaches behind the oldest frame."""
        if self.counts[env] == count:
            return
        torn = np.flatnonzero(self._ring(env, "age")[: self.frame_stack] > np.arange(self.frame_stack))
        self._ring(env, "final")[torn] = True
        leaves[torn] = 0.0
        leaves[: self._oldest()[env]] = 0.0

    def _append(
        self, env: int, stack: Array, action: int, reward: float, terminated: bool, done: bool, *, final: bool
    ) -> None:
        count = int(self.counts[env])
        base = env * self.length
        slot, before = base + count % self.length, base + (count - 1) % self.length
        continues = count > 0 and not self.final[before]
        self.frames[slot] = stack[-self.frames.shape[1] :]
        if self._there is not None:
            self._there.note([slot])
        self.actions[slot], self.rewards[slot] = action, reward
        self.terminated[slot], self.done[slot], self.final[slot] = terminated, done, final
        self.age[slot] = min(self.age[before] + 1, self.frame_stack - 1) if continues else 0
        self.counts[env] = count + 1
        if self.prioritized:
            self._age_priorities(env, count)

    def _age_priorities(self, env: int, newest: int) -> None:
        """Let in the transition whose n steps are now known; let go the one whose stack is being overwritten."""
        base = env * self.length
        ripe, stale = newest - self.n_steps, newest - self.length + self.frame_stack - 1
        known = base + ripe % self.length
        value = 0.0 if ripe < 0 or self.final[known] else self.max_priority**self.alpha
        changed, values = [known], [value]
        if stale >= 0:
            changed, values = [base + stale % self.length, known], [0.0, value]
        self.tree.update(np.array(changed), np.array(values))

    def _oldest(self) -> Array:
        """Return for each ring the count of the first entry whose stack is whole."""
        return np.maximum(self.counts - (self.length - self.frame_stack + 1), 0)

    def _newest(self) -> Array:
        """Return for each ring the count behind the last entry whose n steps are known."""
        return self.counts - self.n_steps

    def _draw_uniform(self, size: int) -> tuple[Array, Array]:
        oldest, sizes = self._oldest(), (self._newest() - self._oldest()).clip(0)
        ends = sizes.cumsum()
        slots = np.zeros(0, dtype=np.int64)
        while len(slots) < size:
            draw = self.rng.integers(ends[-1], size=size - len(slots))
            env = np.searchsorted(ends, draw, side="right")
            entry = oldest[env] + draw - (ends - sizes)[env]
            drawn = env * self.length + entry % self.length
            slots = np.concatenate([slots, drawn[~self.final[drawn]]])
        return slots, np.ones(size)

    def _draw_prioritized(self, size: int, beta: float) -> tuple[Array, Array]:
        """Draw one transition from each of `size` equal shares of the sum of priorities."""
        total = self.tree.total
        targets = (np.arange(size) + self.rng.random(size)) * (total / size)
        slots = self.tree.find(targets)
        chances = self.tree.leaves[slots] / total
        weights = (len(self) * chances) ** -beta
        return slots, weights / weights.max()

    def _look_ahead(self, slots: Array) -> tuple[Array, Array, Array]:
        """Return for each transition how many steps it spans, their discounted rewards, and whether they end it."""
        ahead = self._shift(slots[:, None], np.arange(self.n_steps))
        alive = np.ones(ahead.shape, dtype=bool)
        np.logical_and.accumulate(~self.done[ahead[:, :-1]], axis=1, out=alive[:, 1:])
        discounts = self.gamma ** np.arange(self.n_steps)
        returns = (self.rewards[ahead] * alive * discounts).sum(axis=1).astype(np.float32)
        terminated: Array = np.any(self.terminated[ahead] & alive, axis=1)
        return alive.sum(axis=1), returns, terminated

    def _stacks(self, slots: Array, out: Array | Tensor | None) -> Array | Tensor:
        """Return (..., frame_stack x channels, height, width); before an episode's first frame it is repeated."""
        back = np.arange(self.frame_stack - 1, -1, -1)
        wanted = self._shift(slots[..., None], -np.minimum(back, self.age[slots][..., None]))
        if self._there is not None:
            frames: Any = self._there.take(wanted.reshape(-1))
        else:
            shape = (wanted.size, *self.frames.shape[1:])
            into = np.empty(shape, self.frames.dtype) if out is None else np.asarray(out).reshape(shape)
            # NumPy would buffer the result to keep it whole in case of an index out of bounds; there is none.
            frames = self.frames.take(wanted.reshape(-1), axis=0, out=into, mode="clip")
        stacks: Array | Tensor = frames.reshape(*slots.shape, -1, *self.frames.shape[2:])
        return stacks

    def _shift(self, slots: Array, steps: Array) -> Array:
        """Return the slots `steps` entries later in the same rings."""
        env = slots // self.length
        shifted: Array = env * self.length + (slots + steps - env * self.length) % self.length
        return shifted

    def _ring(self, env: int, name: str) -> Array:
        array: Array = self.tree.leaves if name == _LEAVES else getattr(self, name)
        return array[self._slots(env)]

    def _slots(self, env: int) -> slice:
        return slice(env * self.length, (env + 1) * self.length)

    def _used(self, env: int) -> int:
        return min(int(self.counts[env]), self.length)


_LEAVES = "leaves"
_STORED = ("frames", "actions", "rewards", "terminated", "done", "final", "age", _LEAVES)


def _name(env: int, ring: str) -> str:
    return f"{env}/{ring}"


def _shape(state: Mapping[str, Array], name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if name not in state:
        raise _other_replay(f"it has no {name}")
    return shape_of(state, name)


def _read(state: Mapping[str, Array], name: str, dtype: Any, shape: tuple[int, ...]) -> Array:
    """Return a small array of this dtype and shape; raise `WeightsError` where there is another or none."""
    found = _shape(state, name)
    if found != (np.dtype(dtype), shape):
        raise _other_replay(f"{name} is {found[0]}{found[1]}")
    return np.array(state[name])


def _other_replay(what: str) -> WeightsError:
    return WeightsError(f"the replay buffer has other sizes, {what}", where="replay", code="state.replay")
