"""Everything beside the weights that a training needs to go on where it stopped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from ckptfmt.errors import CkptError
from ckptfmt.format.files import REPLAY, STATE
from ckptfmt.format.manifest import Resume
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.rl.alike import check_alike, item, refuse
from ckptfmt.rl.envs.make import Env
from ckptfmt.rl.envs.state import capture_env, restore_env
from ckptfmt.rl.optimizers import restore_optimizer
from ckptfmt.rl.rng import capture_generator, capture_global, restore_generator, restore_global
from ckptfmt.rl.stored import StoredArrays, read_tensors
from ckptfmt.rl.tree import flatten, unflatten
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["PARTS", "Captured", "TrainingState"]

PARTS = ("optimizer", "target", "schedulers", "rng", "generators", "environments", "counters", "replay")
_MOST_SHARED = 8


class HasState(Protocol):
    """Anything with torch's `state_dict` and `load_state_dict`: learning-rate schedulers, gradient scalers."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data and tensors."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take a state over."""
        ...


class HasArrays(Protocol):
    """A replay buffer whose whole state is arrays."""

    def state(self) -> Mapping[str, Any]:
        """Return the state by name."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take a state over."""
        ...


@dataclass(frozen=True, slots=True)
class Captured:
    """A training state as arrays: what goes into the two files, and what a resume will find and miss."""

    state: dict[str, Any]
    replay: dict[str, Any] | None
    resume: Resume


@dataclass(kw_only=True, slots=True)
class TrainingState:
    """The live objects of a training; what is left out is what a resume lacks.

    `generators` are random generators of the training's own (NumPy, Python, torch); those that all
    libraries share are always kept. `counters` is any nest of numbers, text and arrays: steps, schedules,
    the observations at hand. `unused` names the parts that this training does not have at all, such as
    "schedulers" or "replay": a resume does not lack them.
    """

    optimizer: torch.optim.Optimizer | None = None
    target: nn.Module | None = None
    schedulers: Mapping[str, HasState] = field(default_factory=dict)
    generators: Mapping[str, Any] = field(default_factory=dict)
    environments: Sequence[Env] = ()
    counters: Mapping[str, Any] = field(default_factory=dict)
    replay: HasArrays | None = None
    unused: Sequence[str] = ()

    def __post_init__(self) -> None:
        if unknown := [part for part in self.unused if part not in PARTS]:
            raise ValueError(f"there is no part {unknown[0]!r} of a training state, only {', '.join(PARTS)}")

    def capture(self) -> Captured:
        """Return the state as it is now; tensors are not copied.

        Raises `ManifestError` for a counter that cannot be stored, with its path.
        """
        parts: dict[str, Any] = {"rng": capture_global()}
        if self.optimizer is not None:
            parts["optimizer"] = self.optimizer.state_dict()
        if self.target is not None:
            parts["target"] = dict(self.target.state_dict())
        if self.schedulers:
            parts["schedulers"] = {name: item.state_dict() for name, item in self.schedulers.items()}
        if self.generators:
            parts["generators"] = {name: capture_generator(item) for name, item in self.generators.items()}
        if self.counters:
            parts["counters"] = dict(self.counters)
        captured = [capture_env(env) for env in self.environments]
        missing = sorted({f"environments: {name}" for env in captured for name in env.lacks})
        if captured:
            parts["environments"] = [env.layers for env in captured]
        replay = None if self.replay is None else dict(self.replay.state())
        has = [part for part in PARTS if part in parts or (part == "replay" and replay is not None)]
        lacks = [part for part in PARTS if part not in has and part not in self.unused]
        return Captured(flatten(parts), replay, Resume(has=tuple(has), lacks=(*lacks, *missing)))

    def restore(self, checkpoint: Checkpoint, *, verify: bool = True) -> dict[str, Any]:
        """Set the objects given to what the checkpoint holds of them and return its counters.

        Parts that the checkpoint lacks stay as they are: `checkpoint.manifest.resume` lists them. Raises
        `CkptError` where it holds no training state at all, `WeightsError` where a tensor is damaged.
        """
        if STATE not in checkpoint.manifest.files:
            raise CkptError(
                "holds no training state, only a network",
                where=checkpoint.path,
                fix="resume from a checkpoint that the trainer saved",
                code="resume.nothing",
            )
        parts = _parts(checkpoint, verify)
        self._restore_modules(parts)
        for name, state in _named(parts, "generators"):
            if name in self.generators:
                restore_generator(self.generators[name], state, f"generators/{name}")
        for i, (env, layers) in enumerate(zip(self.environments, parts.get("environments", ()), strict=False)):
            restore_env(env, layers, f"environments/{i}")
        if self.replay is not None and REPLAY in checkpoint.manifest.files:
            self.replay.restore(StoredArrays(checkpoint, REPLAY, verify=verify))
        # Last, since what was made or reset above may have drawn from the shared generators.
        restore_global(item(parts, "rng", STATE))
        return dict(_named(parts, "counters"))

    def _restore_modules(self, parts: Mapping[str, Any]) -> None:
        if self.optimizer is not None and "optimizer" in parts:
            restore_optimizer(self.optimizer, parts["optimizer"])
        if self.target is not None and "target" in parts:
            check_alike(parts["target"], dict(self.target.state_dict()), "target")
            self.target.load_state_dict(parts["target"])
        for name, state in _named(parts, "schedulers"):
            if name in self.schedulers:
                # Their own loaders set whatever attribute is named.
                check_alike(state, self.schedulers[name].state_dict(), f"schedulers/{name}")
                self.schedulers[name].load_state_dict(state)


def _parts(checkpoint: Checkpoint, verify: bool) -> Mapping[str, Any]:
    """Return what the state file holds by part; raise `WeightsError` where it is no such thing."""
    entry = checkpoint.manifest.files[STATE]
    # Names may share a stored tensor, but not so many that what is read is far more than what is there.
    if sum(_bytes(checkpoint, name) for name in checkpoint.names(STATE)) > _MOST_SHARED * entry.bytes:
        refuse("holds far fewer bytes than it names", STATE)
    parts = unflatten(read_tensors(checkpoint, STATE, verify=verify))
    if not isinstance(parts, dict):
        refuse("must be a mapping of parts", STATE)
    if not isinstance(parts.get("environments", []), list):
        refuse("must be a list", "environments")
    return parts


def _named(parts: Mapping[str, Any], part: str) -> Iterator[tuple[str, Any]]:
    """Yield what a part holds by name."""
    stored = parts.get(part, {})
    if not isinstance(stored, Mapping) or not all(isinstance(name, str) for name in stored):
        refuse("must be a mapping with names", part)
    yield from stored.items()


def _bytes(checkpoint: Checkpoint, name: str) -> int:
    info = checkpoint.info(name, STATE)
    return tensor_bytes(info.dtype, info.shape)
