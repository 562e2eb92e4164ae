"""Everything beside the weights that a training needs to go on where it stopped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ckptfmt.errors import CkptError
from ckptfmt.format.files import REPLAY, STATE
from ckptfmt.format.manifest import Resume
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.rl.alike import check_alike, check_range, item, refuse
from ckptfmt.rl.networks import is_spread, load_named, plain_names, whole
from ckptfmt.rl.optimizers import numbered, restore_optimizer
from ckptfmt.rl.pieces import read_spread
from ckptfmt.rl.ranks import rank, world_size
from ckptfmt.rl.rng import capture_generator, capture_global, restore_generator, restore_global
from ckptfmt.rl.stored import StoredArrays, read_tensors
from ckptfmt.rl.tree import flatten, unflatten
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["PARTS", "Captured", "TrainingState"]

PARTS = ("optimizer", "target", "schedulers", "rng", "generators", "environments", "counters", "replay")
# Tied layers count twice or three times; eight leaves room for more.
_MOST_SHARED = 8
# Beyond any cluster, and small enough to be counted.
_MOST_RANKS = 2**20


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


@record
class Captured:
    """A training state as arrays: what goes into the two files, and what a resume will find and miss.

    `spread` is what ranks beside the first hold of the tensors that are spread over all; it was not gathered.
    """

    state: dict[str, Any]
    replay: dict[str, Any] | None
    resume: Resume
    spread: dict[str, Any] = field(default_factory=dict)

    def pieces(self, number: int) -> dict[str, dict[str, Any]]:
        """Return by file what rank `number` writes itself: under its own names, but for what is spread over all."""
        own = f"rank-{number}/" if number else ""
        files = {
            file: {f"{own}{name}": array for name, array in arrays.items()} for file, arrays in self.files().items()
        }
        files[STATE] |= self.spread
        return files

    def gathered(self) -> "Captured":
        """Return the state with whole tensors in rank 0; all ranks must call it, and others keep what is their own."""
        for name, array in self.spread.items():
            whole(array, name)
        state = {name: whole(array, name) if is_spread(array) else array for name, array in self.state.items()}
        return replace(self, state=state, spread={})

    def files(self) -> dict[str, dict[str, Any]]:
        """Return the arrays by the file they belong into."""
        return {STATE: self.state, **({REPLAY: self.replay} if self.replay is not None else {})}


@dataclass(kw_only=True, slots=True)
class TrainingState:
    """The live objects of a training; what is left out is what a resume lacks.

    `generators` are random generators of the training's own (NumPy, Python, torch); those that all
    libraries share are always kept. `counters` is any nest of numbers, text and arrays: steps, schedules,
    the observations at hand. `unused` names the parts that this training does not have at all, such as
    "schedulers" or "replay": a resume does not lack them.

    Of several processes (torch.distributed) each keeps what is its own: generators, environments, counters, replay.
    Optimizer, target and schedulers are the same in all of them. `lacks` says, after `restore`, what this resume lacks,
    `is_own` whether the counters are those of this very rank: one that there was not gets those of rank 0.
    """

    optimizer: torch.optim.Optimizer | None = None
    target: nn.Module | None = None
    schedulers: Mapping[str, HasState] = field(default_factory=dict)
    generators: Mapping[str, Any] = field(default_factory=dict)
    environments: Sequence[Any] = ()
    counters: Mapping[str, Any] = field(default_factory=dict)
    replay: HasArrays | None = None
    unused: Sequence[str] = ()
    lacks: tuple[str, ...] = field(default=(), init=False)
    is_own: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if unknown := [part for part in self.unused if part not in PARTS]:
            raise ValueError(f"there is no part {unknown[0]!r} of a training state, only {', '.join(PARTS)}")

    def capture(self, *, gather: bool = True) -> Captured:
        """Return the state as it is now; tensors are not copied, but for those that are spread over processes.

        All processes must call it, since they gather those together; what is the same in all is given by rank 0.
        Without `gather` nothing is copied, and tensors that are spread stay so.
        Raises `ManifestError` for a counter that cannot be stored, with its path.
        """
        shared, parts = self._shared(), self._own()
        games = _capture_games(self.environments) if self.environments else None
        missing = [f"environments: {name}" for name in games.lacks] if games else []
        if games and games.layers:
            parts["environments"] = games.layers
        replay = None if self.replay is None else dict(self.replay.state())
        found = {*shared, *parts, *(["replay"] if replay is not None else [])}
        has = [part for part in PARTS if part in found]
        lacks = [part for part in PARTS if part not in has and part not in self.unused]
        state, spread = _flat(shared, parts)
        resume = Resume(has=tuple(has), lacks=(*lacks, *missing))
        captured = Captured(state, replay, resume, spread)
        return captured.gathered() if gather else captured

    def _shared(self) -> dict[str, Any]:
        """Return what is the same in all processes."""
        parts: dict[str, Any] = {}
        if self.optimizer is not None:
            parts["optimizer"] = self.optimizer.state_dict()
        if self.target is not None:
            parts["target"] = plain_names(self.target)
            if isinstance(self.target, AveragedModel):
                parts["averaged"] = int(self.target.n_averaged)
        if self.schedulers:
            parts["schedulers"] = {name: item.state_dict() for name, item in self.schedulers.items()}
        if world_size() > 1:
            parts["ranks"] = world_size()
        return parts

    def _own(self) -> dict[str, Any]:
        """Return what every process has for itself."""
        parts: dict[str, Any] = {"rng": capture_global()}
        if self.generators:
            parts["generators"] = {name: capture_generator(item) for name, item in self.generators.items()}
        if self.counters:
            parts["counters"] = dict(self.counters)
        return parts

    def restore(self, checkpoint: Checkpoint, *, verify: bool = True) -> dict[str, Any]:
        """Set the objects given to what the checkpoint holds of them and return its counters.

        Parts that the checkpoint lacks stay as they are, `lacks` names them. Of several processes each takes what
        the one of the same rank gave; one of a rank that there was not keeps its own and gets the counters of
        rank 0. Raises `CkptError` where it holds no training state at all, `WeightsError` where a tensor is damaged.
        """
        if STATE not in checkpoint.manifest.contents:
            raise CkptError(
                "holds no training state, only a network",
                where=checkpoint.path,
                fix="resume from a checkpoint that the trainer saved",
                code="resume.nothing",
            )
        shared = _parts(checkpoint, "", verify, self._spread())
        self._restore_modules(shared)
        self.lacks, prefix = self._missing(checkpoint, shared.get("ranks", 1))
        self.is_own = prefix is not None
        if prefix is None:
            return dict(_named(shared, "counters"))
        parts = _parts(checkpoint, prefix, verify) if prefix else shared
        for name, state in _named(parts, "generators"):
            if name in self.generators:
                restore_generator(self.generators[name], state, f"generators/{name}")
        if self.environments:
            _restore_games(self.environments, parts.get("environments", ()))
        if self.replay is not None and REPLAY in checkpoint.manifest.contents:
            self.replay.restore(StoredArrays(checkpoint, REPLAY, prefix, verify=verify))
        # Last, since what was made or reset above may have drawn from the shared generators.
        restore_global(item(parts, "rng", STATE))
        return dict(_named(parts, "counters"))

    def _spread(self) -> dict[str, Any]:
        """Return the live tensors that are spread over ranks, by what their names in the state begin with."""
        live: dict[str, Any] = {}
        if self.optimizer is not None:
            live |= {f"optimizer/state/{number}": tensor for number, tensor in numbered(self.optimizer).items()}
        if self.target is not None:
            live |= {f"target/{name}": tensor for name, tensor in plain_names(self.target).items()}
        return {name: tensor for name, tensor in live.items() if is_spread(tensor) and not tensor.is_meta}

    def _missing(self, checkpoint: Checkpoint, saved: Any) -> tuple[tuple[str, ...], str | None]:
        """Return what this resume lacks, and what the names of this rank begin with; None where it gave nothing."""
        check_range(saved, 1, _MOST_RANKS, "ranks")
        stored = checkpoint.manifest.resume
        lacks = stored.lacks if stored else ()
        if saved != world_size():
            lacks = (*lacks, f"ranks: saved by {saved}, resumed by {world_size()}")
        return lacks, None if rank() >= saved else f"rank-{rank()}/" if rank() else ""

    def _restore_modules(self, parts: Mapping[str, Any]) -> None:
        if self.optimizer is not None and "optimizer" in parts:
            restore_optimizer(self.optimizer, parts["optimizer"])
        if self.target is not None and "target" in parts:
            load_named(self.target, parts["target"], "target")
            if isinstance(self.target, AveragedModel) and "averaged" in parts:
                # Doubles count no further.
                check_range(parts["averaged"], 0, 2**53, "averaged")
                self.target.n_averaged.fill_(parts["averaged"])
        for name, state in _named(parts, "schedulers"):
            if name in self.schedulers:
                # Their own loaders set whatever attribute is named.
                check_alike(state, self.schedulers[name].state_dict(), f"schedulers/{name}")
                self.schedulers[name].load_state_dict(state)


def _capture_games(environments: Sequence[Any]) -> Any:
    # A training without environments of gymnasium is saved where that is not installed.
    from ckptfmt.rl.envs.state import capture_games

    return capture_games(environments)


def _restore_games(environments: Sequence[Any], stored: Sequence[Any]) -> None:
    from ckptfmt.rl.envs.state import restore_games

    restore_games(environments, stored)


def _flat(shared: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both as arrays; in ranks beside the first one only what is their own, and what is spread over all."""
    if rank() == 0:
        return flatten({**shared, **own}), {}
    return flatten(own), {name: array for name, array in flatten(shared).items() if is_spread(array)}


def _parts(
    checkpoint: Checkpoint, prefix: str, verify: bool, spread: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Return what the state file holds of one rank by part; raise `WeightsError` where it is no such thing.

    What belongs to a tensor in `spread` is spread as that one, and no rank reads all of it.
    """
    entry = checkpoint.manifest.contents[STATE]
    # Names may share a stored tensor, but not so many that what is read is far more than what is there.
    if sum(_bytes(checkpoint, name) for name in checkpoint.names(STATE)) > _MOST_SHARED * entry.bytes:
        refuse("holds far fewer bytes than its description says", STATE)
    names = [name for name in checkpoint.names(STATE) if name.startswith(prefix or "rank-") is bool(prefix)]
    lies = {name: live for name in names if (live := _live(checkpoint, name, spread or {})) is not None}
    tensors = read_tensors(checkpoint, STATE, (name for name in names if name not in lies), verify=verify)
    tensors |= {name: read_spread(checkpoint, name, STATE, live, verify=verify) for name, live in lies.items()}
    parts = unflatten({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    if not isinstance(parts, dict):
        refuse("must be a mapping of parts", STATE)
    if not isinstance(parts.get("environments", []), list):
        refuse("must be a list", "environments")
    return parts


def _live(checkpoint: Checkpoint, name: str, spread: Mapping[str, Any]) -> Any:
    """Return the live tensor that a stored one is spread as: its own, or of the parameter that it is kept for."""
    live = spread.get(name, spread.get(name.rpartition("/")[0]))
    fits = live is not None and tuple(checkpoint.info(name, STATE).shape) == tuple(live.shape)
    return live if fits else None


def _named(parts: Mapping[str, Any], part: str) -> Iterator[tuple[str, Any]]:
    """Yield what a part holds by name."""
    stored = parts.get(part, {})
    if not isinstance(stored, Mapping) or not all(isinstance(name, str) for name in stored):
        refuse("must be a mapping with names", part)
    yield from stored.items()


def _bytes(checkpoint: Checkpoint, name: str) -> int:
    info = checkpoint.info(name, STATE)
    return tensor_bytes(info.dtype, info.shape)
