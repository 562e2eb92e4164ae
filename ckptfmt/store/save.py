"""Save arrays as a checkpoint, whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ckptfmt.errors import ManifestError, WeightsError, printable
from ckptfmt.families.atari_dqn.config import MODEL_VERSION, ModelConfig, hash_settings
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.config import Config
from ckptfmt.format.files import REPLAY, STATE, WEIGHTS
from ckptfmt.format.manifest import FileEntry, Lineage, Manifest, Resume
from ckptfmt.format.provenance import created_by, instant
from ckptfmt.format.tensors import payloads
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import Compression, TensorFile, write_checkpoint

__all__ = ["save", "write"]


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    config: Config | Mapping[str, Any] | None = None,
    training_info: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    *,
    state: Mapping[str, Any] | None = None,
    replay: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    evaluation: Sequence[Mapping[str, Any]] = (),
    lineage: Lineage | None = None,
    resume: Resume | None = None,
    extra: Mapping[str, Any] | None = None,
    wait: float = 0.0,
    compress: bool = False,
) -> Checkpoint:
    """Write `tensors` (name to NumPy array or torch tensor) as a checkpoint and return it opened.

    With a `config` the tensors must be those of the network that it describes. `state` and `replay` hold what
    a resume needs, as arrays. What is at `path` already is replaced only with `overwrite`, atomically; `wait`
    is how many seconds another writer of the same path is waited for. With `compress` each file that gets a
    tenth smaller is stored as zstd, which changes no digest. Raises `TargetExists`, `WriteError`,
    `WeightsError` for a tensor that cannot be stored and `ManifestError` for a value that JSON cannot hold.

    >>> with ckptfmt.save("out", {"conv.0.weight": numpy.zeros((32, 4, 8, 8), "f4")}) as checkpoint:
    ...     print(checkpoint.manifest.content_digest)
    """
    folders: list[int] = []

    def keep(folder: int) -> None:
        # Where no descriptor is left it is opened again, which says so.
        with contextlib.suppress(OSError):
            folders.append(os.dup(folder))

    manifest = write(
        path,
        tensors,
        config,
        training_info,
        overwrite,
        state=state,
        replay=replay,
        environment=environment,
        evaluation=evaluation,
        lineage=lineage,
        resume=resume,
        extra=extra,
        wait=wait,
        compress=compress,
        published=keep,
    )
    return Checkpoint.of_written(path, folders[0], manifest) if folders else Checkpoint(path)


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    config: Config | Mapping[str, Any] | None = None,
    training_info: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    *,
    state: Mapping[str, Any] | None = None,
    replay: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    evaluation: Sequence[Mapping[str, Any]] = (),
    lineage: Lineage | None = None,
    resume: Resume | None = None,
    extra: Mapping[str, Any] | None = None,
    wait: float = 0.0,
    compress: bool = False,
    published: Callable[[int], None] | None = None,
) -> Manifest:
    """Do what `save` does, and return what a reader makes of the manifest without opening the checkpoint.

    `published` is as of `write_checkpoint`.
    """
    network = _network(config)
    files = _files({WEIGHTS: tensors, STATE: state, REPLAY: replay}, Compression() if compress else None)
    if network is not None:
        _check_network(network, files[WEIGHTS], os.fspath(path))

    def build(entries: Mapping[str, FileEntry]) -> Manifest:
        return Manifest(
            created_at=instant(),
            created_by=created_by(),
            architecture=network.architecture if network else None,
            config=_signed(network.config.to_dict(), training_info) if network else None,
            environment={} if environment is None else environment,
            training_info={} if training_info is None else training_info,
            evaluation=_listed(evaluation),
            lineage=lineage,
            resume=resume,
            files=entries,
            extra={} if extra is None else extra,
            content_digest="",
        )

    return write_checkpoint(path, files, build, overwrite=overwrite, wait=wait, published=published)


def _signed(config: dict[str, Any], training_info: Any) -> dict[str, Any]:
    """Return a config that says when and by what it was saved, in the fields that it has and nobody filled."""
    made = created_by()
    settings = training_info.get("training_config") if isinstance(training_info, Mapping) else None
    filled = {
        "created_at": instant(),
        "model_version": MODEL_VERSION,
        "framework_version": next((f"{name} {made[name]}" for name in ("torch", "numpy") if name in made), None),
        "training_config_hash": hash_settings(settings if isinstance(settings, Mapping) else config),
    }
    return {**config, **{name: value for name, value in filled.items() if name in config and config[name] is None}}


def _listed(value: Any) -> Any:
    """Return a list of any kind as a document holds it; what is none is left to the parser, which refuses it."""
    return tuple(value) if hasattr(value, "__iter__") else value


def _files(given: Mapping[str, Any], form: Compression | None) -> dict[str, TensorFile]:
    for name, arrays in given.items():
        if not isinstance(arrays, Mapping) and (arrays is not None or name == WEIGHTS):
            kind = printable(type(arrays).__name__)
            raise WeightsError(f"must be a mapping of names to arrays, not a {kind}", where=name, code="weights.name")
    return {name: TensorFile(*payloads(arrays), form) for name, arrays in given.items() if arrays is not None}


def _network(config: Config | Mapping[str, Any] | None) -> Blueprint | None:
    if config is None:
        return None
    if isinstance(config, Mapping):
        return Blueprint.of(ModelConfig.from_dict(config))
    if not isinstance(getattr(config, "family", None), str):
        raise ManifestError("must be the config of a network or a mapping of its fields", where="$.config")
    return Blueprint.of(config)


def _check_network(network: Blueprint, file: TensorFile, where: str) -> None:
    stored = {**file.tensors, **{name: file.tensors[kept] for name, kept in file.tied.items()}}
    if found := list(network.mismatches(stored)):
        raise WeightsError(
            f"the tensors are not those of a {network.name} network: {printable(found[0], 200)}",
            where=where,
            fix="give the config of this network, or none",
            code="weights.shape",
        )
