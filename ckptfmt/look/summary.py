"""What a checkpoint is, told from its manifest and headers alone."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ckptfmt.errors import Problem
from ckptfmt.families.blueprint import Blueprint, layer_order
from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.plain import plain
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Summary", "TensorStats", "TensorSummary", "summarize_checkpoint", "totals"]

# Fields of the config that say what the network is; the others say how it was trained or where it came from.
_NETWORK = (
    "encoder",
    "input_shape",
    "n_action",
    "hidden_size",
    "input_scale",
    "n_atoms",
    "v_min",
    "v_max",
    "noisy_std_init",
)


@record
class TensorStats:
    """What `stats.tensor_stats` found; the figures are over the finite elements, None where there are none.

    Complex numbers count by their magnitude, booleans as 0 and 1. `std` is that of the whole population.
    """

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    zeros: int
    non_finite: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures with the keys of `report.schema.json`."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}


@record
class TensorSummary:
    """One tensor; `tied_to` names the stored tensor whose bytes it shares, `offset` counts from the data's start."""

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int
    offset: int
    digest: str
    tied_to: str | None = None
    stats: TensorStats | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the tensor with the keys of `report.schema.json`; `stats` only where they were asked for."""
        fields = {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return fields if self.stats else {name: item for name, item in fields.items() if name != "stats"}


@record
class Summary:
    """What `ckpt inspect` says; the mappings are None where the checkpoint does not know.

    `algorithm` is the architecture's name, with that of its family unless it is the first. `network` holds what
    rebuilds it, `training` and `environment` what the training code said, `evaluation` the results that were written
    into the manifest.
    """

    path: str
    format_version: str
    created_at: str
    created_by: Mapping[str, str]
    algorithm: str | None
    environment: Mapping[str, Any] | None
    network: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    evaluation: tuple[Mapping[str, Any], ...]
    lineage: Mapping[str, Any] | None
    conversion: Mapping[str, Any] | None
    content_digest: str
    manifest_digest: str
    totals: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    tensors: tuple[TensorSummary, ...]
    warnings: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt inspect --json`."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}

    def with_stats(self, stats: Mapping[str, TensorStats | None], file: str = WEIGHTS) -> "Summary":
        """Return the summary with the figures of one file's tensors filled in."""
        return replace(
            self, tensors=tuple(replace(t, stats=stats.get(t.name)) if t.file == file else t for t in self.tensors)
        )


def summarize_checkpoint(checkpoint: Checkpoint | str | os.PathLike[str]) -> Summary:
    """Return what a checkpoint is; no tensor is read. Raises what `Checkpoint` raises."""
    if not isinstance(checkpoint, Checkpoint):
        with Checkpoint(checkpoint) as opened:
            return summarize_checkpoint(opened)
    manifest = checkpoint.manifest
    tensors = tuple(_tensors(manifest, checkpoint.network))
    return Summary(
        path=checkpoint.path,
        format_version=manifest.format_version,
        created_at=manifest.created_at,
        created_by=dict(manifest.created_by),
        algorithm=manifest.architecture.title if manifest.architecture else None,
        environment=_environment(manifest),
        network=_network(manifest),
        training=dict(manifest.training_info) or None,
        evaluation=manifest.evaluation,
        lineage=manifest.lineage.to_dict() if manifest.lineage else None,
        conversion=manifest.conversion.to_dict() if manifest.conversion else None,
        content_digest=manifest.content_digest,
        manifest_digest=manifest.manifest_digest,
        totals=totals(t for t in tensors if t.file == WEIGHTS),
        files={
            name: {"bytes": entry.bytes, "sha256": entry.sha256, "tensors": len(entry.tensors)}
            for name, entry in manifest.files.items()
        },
        tensors=tensors,
        warnings=checkpoint.warnings,
    )


def totals(tensors: Iterable["TensorSummary"]) -> dict[str, Any]:
    """Return number, parameters, bytes and dtypes of tensors; one that shares its bytes counts once."""
    stored = [tensor for tensor in tensors if tensor.tied_to is None]
    return {
        "tensors": len(stored),
        "parameters": sum(tensor.parameters for tensor in stored),
        "bytes": sum(tensor.bytes for tensor in stored),
        "dtypes": dict(Counter(tensor.dtype for tensor in stored).most_common()),
    }


def _tensors(manifest: Manifest, network: Blueprint | None) -> Iterator[TensorSummary]:
    for file, entry in manifest.contents.items():
        for name in layer_order((*entry.tensors, *entry.tied), network if file == WEIGHTS else None):
            stored = entry.tied.get(name)
            info = entry.tensors[stored or name]
            size = tensor_bytes(info.dtype, info.shape)
            shape = tuple(info.shape)
            count = math.prod(shape)
            yield TensorSummary(name, file, info.dtype, shape, count, size, info.offset, info.digest, stored)


def _environment(manifest: Manifest) -> dict[str, Any] | None:
    """What the manifest says of the environment; the game of the config stands for its id."""
    game = manifest.config.get("game") if manifest.config else None
    known = {"id": game} if game else {}
    return {**known, **manifest.environment} or None


def _network(manifest: Manifest) -> dict[str, Any] | None:
    if manifest.config is None:
        return None
    config = manifest.config
    # What is not an Atari DQN is shown whole: which of its fields matter its own family knows.
    if "encoder" not in config:
        kept = {name: item for name, item in config.items() if item is not None and name != "game"}
        return {**kept, "origin": dict(manifest.config_origin)}
    # It has a default, which says something of networks with noise only.
    unused = () if config.get("noisy_networks") else ("noisy_std_init",)
    kept = {name: config[name] for name in _NETWORK if config.get(name) is not None and name not in unused}
    origin = {name: word for name, word in manifest.config_origin.items() if name in kept}
    return {**kept, "origin": origin}
