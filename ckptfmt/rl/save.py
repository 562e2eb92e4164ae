"""Save a live network, and the training around it, as a checkpoint."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import torch
from torch import nn

from ckptfmt.errors import WeightsError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.format.manifest import Lineage, Manifest, parse_manifest, render_manifest
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.description import describe_env
from ckptfmt.rl.ranks import once
from ckptfmt.rl.revision import code_revision
from ckptfmt.rl.state import TrainingState
from ckptfmt.store.save import save

__all__ = ["HasTensors", "named_tensors", "refuse_nan", "save_model_checkpoint", "unwrap"]

_NAN_FIX = "save an earlier network, or pass allow_nan=True"
Described = Environment | Mapping[str, Any] | gymnasium.Env[Any, Any]


class HasTensors(Protocol):
    """What can be saved: a module, or a network that `adopt` returned."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the weights by name."""
        ...


def save_model_checkpoint(
    model: HasTensors,
    model_config: ModelConfig | None,
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
) -> Manifest:
    """Write a network on any device as a checkpoint and return the manifest that was written.

    Compiled, DataParallel and DistributedDataParallel models are saved under their plain names; under
    torchrun rank 0 writes and the others wait. `environment` is a description or the environment itself.
    Without a `lineage` the checkpoint is called trained, by the git revision around the running script.
    Raises `WeightsError` for NaN or infinite weights unless `allow_nan`, and what `ckptfmt.save` raises.
    """
    tensors = named_tensors(model)
    where = os.fspath(checkpoint_path)

    def write() -> Manifest:
        if not allow_nan:
            refuse_nan(tensors, where)
        captured = state.capture() if state else None
        with save(
            checkpoint_path,
            tensors,
            model_config,
            training_info,
            overwrite,
            state=captured.state if captured else None,
            replay=captured.replay if captured else None,
            resume=captured.resume if captured else None,
            environment=_description(environment),
            evaluation=evaluation,
            lineage=lineage or Lineage(kind="trained", code=code_revision()),
            extra=extra,
            wait=wait,
        ) as checkpoint:
            return checkpoint.manifest

    # The manifest is sent to the other ranks: their machine need not have the folder.
    return once(write, encode=render_manifest, decode=lambda data: parse_manifest(data, where=where), where=where)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside torch.compile, DataParallel and DistributedDataParallel."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def named_tensors(model: HasTensors) -> dict[str, torch.Tensor]:
    """Return a model's tensors under the names they have without torch.compile and data parallelism."""
    network = unwrap(model) if isinstance(model, nn.Module) else model
    # A part that was compiled by itself leaves its mark in the middle of a name.
    return {name.replace("_orig_mod.", ""): tensor for name, tensor in network.state_dict().items()}


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
    wide = tensor if tensor.dtype.itemsize > 1 else tensor.float()
    return bool(torch.isfinite(wide.sum())) or bool(torch.isfinite(wide).all())


def _description(environment: Described | None) -> Mapping[str, Any] | None:
    if isinstance(environment, gymnasium.Env):
        environment = describe_env(environment)
    return environment.to_dict() if isinstance(environment, Environment) else environment
