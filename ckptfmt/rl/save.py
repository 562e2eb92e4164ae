"""Save a live network, and the training around it, as a checkpoint."""

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ckptfmt.errors import WeightsError
from ckptfmt.families.config import Config
from ckptfmt.families.spaces import check_spaces
from ckptfmt.format.files import REPLAY, STATE, WEIGHTS
from ckptfmt.format.manifest import Lineage, Manifest, Resume, render_manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.networks import HasTensors, named_tensors
from ckptfmt.rl.ranks import gather, once, rank
from ckptfmt.rl.revision import code_revision
from ckptfmt.rl.state import TrainingState
from ckptfmt.store.save import write

__all__ = ["refuse_nan", "save_model_checkpoint"]

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
) -> Manifest:
    """Write a network on any device as a checkpoint and return the manifest that was written.

    Compiled, averaged and data-parallel models are saved under their plain names. Under torchrun every rank must
    call it: rank 0 writes, with whole tensors where they are spread over the ranks (FSDP2) and with the state of
    every rank, and the others wait. `environment` is a description or the environment itself. With `compress` each file
    that gets a tenth smaller is stored as zstd. Without a `lineage` the checkpoint is called trained, by the git
    revision around the running script.
    Raises `WeightsError` for NaN or infinite weights unless `allow_nan`, and what `ckptfmt.save` raises.
    """
    where = os.fspath(checkpoint_path)
    given = gather(lambda: _given(model, state), where)

    def write_once() -> Manifest:
        if not allow_nan:
            refuse_nan(given.files[WEIGHTS], where)
        return write(
            checkpoint_path,
            given.files[WEIGHTS],
            model_config,
            training_info,
            overwrite,
            state=given.files.get(STATE),
            replay=given.files.get(REPLAY),
            resume=_resume(given.notes),
            environment=_description(environment, model_config, where),
            evaluation=evaluation,
            lineage=lineage or Lineage(kind="trained", code=code_revision()),
            extra=extra,
            wait=wait,
            compress=compress,
        )

    # The manifest is sent to the other ranks: their machine need not have the folder.
    read = partial(parse_manifest, where=where)
    return once(write_once, encode=render_manifest, decode=read, where=where, own=given.own)


def _given(model: HasTensors, state: TrainingState | None) -> tuple[dict[str, Any], Any]:
    """Return the files that this rank gives to a save, and what a resume finds in them."""
    captured = state.capture() if state else None
    resume = captured.resume.to_dict() if captured else None
    # All ranks gather what is spread over them; the network is then given by the first.
    weights = named_tensors(model)
    return {**({} if rank() else {WEIGHTS: weights}), **(captured.files() if captured else {})}, resume


def _resume(notes: Sequence[Any]) -> Resume | None:
    """Return what a resume finds in what all ranks gave, and what it lacks of any of them."""
    if notes[0] is None:
        return None
    lacks = list(notes[0]["lacks"])
    for number, note in enumerate(notes[1:], 1):
        missing = ["state"] if note is None else [item for item in note["lacks"] if item not in notes[0]["lacks"]]
        lacks += [f"rank {number}: {item}" for item in missing]
    return Resume(has=tuple(notes[0]["has"]), lacks=tuple(lacks))


def refuse_nan(tensors: Mapping[str, torch.Tensor], where: str, fix: str = _NAN_FIX) -> None:
    """Raise `WeightsError` where a tensor holds NaN or infinite numbers."""
    bad = [
        name
        for name, tensor in tensors.items()
        if (tensor.is_floating_point() or tensor.is_complex()) and not _is_finite(tensor)
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
