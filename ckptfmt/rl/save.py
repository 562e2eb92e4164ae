"""Save a live network, and the training around it, as a checkpoint."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from ckptfmt.errors import WeightsError
from ckptfmt.families.config import Config
from ckptfmt.families.spaces import check_spaces
from ckptfmt.format.files import REPLAY, STATE, WEIGHTS
from ckptfmt.format.manifest import Lineage, Manifest, Resume, render_manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.record import record
from ckptfmt.format.tensors import Part
from ckptfmt.remote.url import is_url
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.networks import HasTensors, gathered, plain_names
from ckptfmt.rl.peers import PATIENCE, Ranks, ranks_now
from ckptfmt.rl.pieces import pieces, spread_bytes
from ckptfmt.rl.ranks import Given, gather, once, rank
from ckptfmt.rl.revision import code_revision
from ckptfmt.rl.state import Captured, TrainingState
from ckptfmt.store.save import write
from ckptfmt.store.write.together import Steps

__all__ = ["gathered_from_ranks", "held_by_rank", "refuse_nan", "save_model_checkpoint"]

# From so many bytes on it is faster that each rank writes its own than that rank 0 gathers them.
_MUCH = 64 << 20
_NAN_FIX = "save an earlier network, or pass allow_nan=True"
# A description, its plain data, or an environment of gymnasium, single or a vector.
Described = Environment | Mapping[str, Any] | Any


def save_model_checkpoint(
    model: HasTensors,
    model_config: Config | None,
    training_info: Mapping[str, Any] | None,
    checkpoint_path: str | os.PathLike[str],
    *,
    state: TrainingState | None = None,
    environment: Described | None = None,
    evaluation: Sequence[Mapping[str, Any]] = (),
    lineage: Lineage | None = None,
    extra: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    allow_nan: bool = False,
    wait: float = 0.0,
    compress: bool = False,
    sharded: bool | None = None,
    patience: float = PATIENCE,
) -> Manifest:
    """Write a network on any device as a checkpoint and return the manifest that was written.

    Compiled, averaged and data-parallel models are saved under their plain names. Under torchrun every rank must
    call it. With `sharded` each writes the slices that it holds of tensors which are spread over them (FSDP2, tensor
    parallelism), and its own state; else rank 0 writes all that the others give it. Unless told, what is large is
    sharded, and in a store nothing. A rank that says nothing for `patience` seconds makes the save fail in all.
    `environment` is a description or the environment itself. With `compress` each file that gets a tenth smaller is
    stored as zstd. Without a `lineage` the checkpoint is called trained, by the git revision around the running script.
    Raises `WeightsError` for NaN or infinite weights unless `allow_nan`, and what `ckptfmt.save` raises.
    """
    where = os.fspath(checkpoint_path)
    told = {"evaluation": evaluation, "extra": extra, "wait": wait, "compress": compress}
    beside = _Beside(checkpoint_path, model_config, training_info, environment, lineage, overwrite, allow_nan, told)
    ranks = ranks_now(patience)
    held, notes = _hold(model, state, ranks, where)
    resumes = [note["resume"] for note in notes]
    if ranks is not None and _is_sharded(sharded, notes, checkpoint_path):
        return beside.write(_pieces(held, beside.check, ranks, where), resumes, ranks)
    return _by_one(held, beside.check, partial(beside.write, notes=resumes), where)


@record(slots=False)
class _Beside:
    """What a save says beside the tensors: `told` are the keywords of `ckptfmt.save` that are passed on as they are."""

    path: str | os.PathLike[str]
    config: Config | None
    training_info: Mapping[str, Any] | None
    environment: Described | None
    lineage: Lineage | None
    overwrite: bool
    allow_nan: bool
    told: Mapping[str, Any]

    @cached_property
    def description(self) -> Mapping[str, Any] | None:
        """Return what the manifest says of the environment."""
        return _description(self.environment, self.config, os.fspath(self.path))

    def check(self, weights: Mapping[str, Any]) -> None:
        """Raise where the weights, or the environment, are none to be saved."""
        if not self.allow_nan:
            refuse_nan(weights, os.fspath(self.path))
        # Described here, so that one which does not fit is refused before anything is written.
        _ = self.description

    def write(self, files: Mapping[str, Any], notes: Sequence[Any], ranks: Ranks | None = None) -> Manifest:
        """Write the files of this process, or with `ranks` those of all; return the manifest."""
        return write(
            self.path,
            files[WEIGHTS],
            self.config,
            self.training_info,
            self.overwrite,
            state=files.get(STATE),
            replay=files.get(REPLAY),
            resume=_resume(notes),
            environment=self.description,
            lineage=self.lineage or Lineage(kind="trained", code=code_revision()),
            peers=ranks,
            **self.told,
        )


def held_by_rank(
    model: HasTensors,
    state: TrainingState | None,
    ranks: Ranks,
    where: str,
    check: Callable[[Mapping[str, Any]], None],
) -> tuple[Mapping[str, Any], Resume | None]:
    """Return the tensors that this rank writes, by file, and what a resume finds of all; all ranks call it.

    Nothing is gathered. What `check` raises for the weights of one is raised there, and `WriteError` in the others.
    """
    held, notes = _hold(model, state, ranks, where)
    return _pieces(held, check, ranks, where), _resume([note["resume"] for note in notes])


def gathered_from_ranks(model: HasTensors, state: TrainingState | None, where: str) -> tuple[Given, Resume | None]:
    """Return what all ranks give to rank 0, by file, to be written in `once`, and what a resume finds of it."""
    held, notes = _hold(model, state, ranks_now(), where)
    return gather(lambda: (held.gathered(), None), where), _resume([note["resume"] for note in notes])


def _hold(
    model: HasTensors, state: TrainingState | None, ranks: Ranks | None, where: str
) -> tuple["_Held", list[dict[str, Any]]]:
    """Return what this rank has, and the notes of all; raise `WriteError` in all where one rank has nothing to give."""
    mine: list[_Held] = []

    def hold() -> dict[str, Any]:
        mine.append(_Held(plain_names(model), state.capture(gather=False) if state else None))
        return mine[0].note(rank())

    notes = [hold()] if ranks is None else Steps(ranks, where).take("give its state", hold)
    return mine[0], notes


def _pieces(held: "_Held", check: Callable[[Mapping[str, Any]], None], ranks: Ranks, where: str) -> Mapping[str, Any]:
    """Return the slices that this rank writes, once those of all have passed the check."""
    given: list[Mapping[str, Any]] = []

    def give() -> None:
        given.append(held.pieces(ranks.rank))
        check(given[0][WEIGHTS])

    Steps(ranks, where).take("give its tensors", give)
    return given[0]


def _by_one(
    held: "_Held",
    check: Callable[[Mapping[str, Any]], None],
    write_of: Callable[[Mapping[str, Any]], Manifest],
    where: str,
) -> Manifest:
    """Return the manifest of what rank 0 wrote of all that the ranks hold."""
    whole = gather(lambda: (held.gathered(), None), where)

    def write_once() -> Manifest:
        check(whole.files[WEIGHTS])
        return write_of(whole.files)

    # The manifest is sent to the other ranks: their machine need not have the folder.
    read = partial(parse_manifest, where=where)
    return once(write_once, encode=render_manifest, decode=read, where=where, own=whole.own)


@record
class _Held:
    """What this rank has of a training: the network's tensors, and the state around it, nothing gathered yet."""

    weights: Mapping[str, Any]
    state: Captured | None

    def note(self, number: int) -> dict[str, Any]:
        """Return what the others must know of it: what a resume finds there, and the bytes that rank 0 would gather."""
        files = self.state.files() if self.state else {}
        own = [array for arrays in files.values() for array in arrays.values()] if number else []
        spread = spread_bytes([*self.weights.values(), *(self.state.state.values() if self.state else ())])
        resume = self.state.resume.to_dict() if self.state else None
        return {"resume": resume, "bytes": spread + sum(array.nbytes for array in own)}

    def gathered(self) -> dict[str, Any]:
        """Return what this rank gives to rank 0; all ranks gather what is spread over them, in one order."""
        files = self.state.gathered().files() if self.state else {}
        weights = gathered(self.weights)
        return {**({} if rank() else {WEIGHTS: weights}), **files}

    def pieces(self, number: int) -> dict[str, Any]:
        """Return what this rank writes itself, by file."""
        files = {WEIGHTS: self.weights, **(self.state.pieces(number) if self.state else {})}
        return {file: pieces(arrays) for file, arrays in files.items()}


def _is_sharded(asked: bool | None, notes: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> bool:
    """Return whether each rank writes its own: where it is asked for, else where much would have to be gathered."""
    if asked is not None:
        return asked
    return not is_url(path) and notes[0]["bytes"] + sum(note["bytes"] for note in notes[1:]) >= _MUCH


def _resume(notes: Sequence[Any]) -> Resume | None:
    """Return what a resume finds in what all ranks gave, and what it lacks of any of them."""
    if notes[0] is None:
        return None
    lacks = list(notes[0]["lacks"])
    for number, note in enumerate(notes[1:], 1):
        missing = ["state"] if note is None else [item for item in note["lacks"] if item not in notes[0]["lacks"]]
        lacks += [f"rank {number}: {item}" for item in missing]
    return Resume(has=tuple(notes[0]["has"]), lacks=tuple(lacks))


def refuse_nan(tensors: Mapping[str, torch.Tensor | Part], where: str, fix: str = _NAN_FIX) -> None:
    """Raise `WeightsError` where a tensor holds NaN or infinite numbers."""
    bad = [
        name
        for name, given in tensors.items()
        if ((tensor := given.array if isinstance(given, Part) else given).is_floating_point() or tensor.is_complex())
        and not _is_finite(tensor)
    ]
    if bad:
        count = f" and {len(bad) - 1} more tensors" if len(bad) > 1 else ""
        raise WeightsError(
            f"{bad[0]}{count} hold NaN or infinite numbers" if count else f"{bad[0]} holds NaN or infinite numbers",
            where=where,
            fix=fix,
            code="weights.nan",
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    # NaN and infinities survive a sum, which takes one pass and no memory; finite numbers may add up to infinity.
    # torch adds up no 8-bit floats.
    wide = tensor if tensor.dtype.itemsize > 1 else tensor.float()
    return math.isfinite(_sum(wide)) or bool(torch.isfinite(wide).all())


def _sum(tensor: torch.Tensor) -> float:
    if tensor.device.type != "cpu" or tensor.dtype not in (torch.float32, torch.float64) or tensor.is_neg():
        return abs(tensor.sum().item())
    # One thread: torch's would wait for each other wherever the training has the processors.
    with np.errstate(all="ignore"):
        return float(tensor.detach().numpy().sum())


def _description(environment: Described | None, config: Any | None, where: str) -> Mapping[str, Any] | None:
    if environment is None or isinstance(environment, Mapping):
        return environment
    if isinstance(environment, Environment):
        return environment.to_dict()
    # What is described here exists only where gymnasium is installed; saving anything else does not need it.
    from ckptfmt.rl.envs.description import describe_env

    if config is not None:
        check_spaces(config, environment, where, inside=True)
    return describe_env(environment).to_dict()
