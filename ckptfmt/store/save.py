"""Save arrays as a checkpoint, whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from ckptfmt.errors import ManifestError, WeightsError, printable
from ckptfmt.families.atari_dqn.config import MODEL_VERSION, ModelConfig, hash_settings
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.config import Config
from ckptfmt.format.files import REPLAY, STATE, WEIGHTS
from ckptfmt.format.manifest import FileEntry, Lineage, Manifest, Resume, Slice
from ckptfmt.format.provenance import created_by, instant
from ckptfmt.format.shards import plain_name, shard_name
from ckptfmt.format.tensors import Part, payloads
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import Compression, TensorFile, write_checkpoint
from ckptfmt.store.write.together import Peers, write_together

__all__ = ["save", "tensor_file", "write"]

# Arrays by name.
Arrays: TypeAlias = Mapping[str, Any]


def save(
    path: str | os.PathLike[str],
    tensors: Arrays | Sequence[Arrays],
    config: Config | Mapping[str, Any] | None = None,
    training_info: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    *,
    state: Arrays | Sequence[Arrays] | None = None,
    replay: Arrays | Sequence[Arrays] | None = None,
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
    a resume needs, as arrays. A list of such mappings in place of one makes a file of each; there a tensor may be a
    `Part` of one whose other parts lie in others. What is at `path` already is replaced only with `overwrite`,
    atomically; `wait` is how many seconds another writer of the same path is waited for. With `compress` each file that
    gets a tenth smaller is stored as zstd, which changes no digest. Raises `TargetExists`, `WriteError`,
    `WeightsError` for a tensor that cannot be stored and `ManifestError` for a value that JSON cannot hold.

    >>> with ckptfmt.save("out", {"conv.0.weight": numpy.zeros((32, 4, 8, 8), "f4")}) as checkpoint:
    ...     print(checkpoint.manifest.content_digest)
    """
    folders: list[int] = []
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
        # The folder that was written, and not whatever lies under its name by then.
        published=partial(_keep, folders),
    )
    return Checkpoint.of_written(path, folders[0], manifest) if folders else Checkpoint(path)


def _keep(folders: list[int], folder: int) -> None:
    # Where no descriptor is left it is opened again, which says so.
    with contextlib.suppress(OSError):
        folders.append(os.dup(folder))


def write(
    path: str | os.PathLike[str],
    tensors: Arrays | Sequence[Arrays],
    config: Config | Mapping[str, Any] | None = None,
    training_info: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    *,
    state: Arrays | Sequence[Arrays] | None = None,
    replay: Arrays | Sequence[Arrays] | None = None,
    environment: Mapping[str, Any] | None = None,
    evaluation: Sequence[Mapping[str, Any]] = (),
    lineage: Lineage | None = None,
    resume: Resume | None = None,
    extra: Mapping[str, Any] | None = None,
    wait: float = 0.0,
    compress: bool = False,
    published: Callable[[int], None] | None = None,
    peers: Peers | None = None,
) -> Manifest:
    """Do what `save` does, and return what a reader makes of the manifest without opening the checkpoint.

    `published` is as of `write_checkpoint`. With `peers` all of them call it, each with the tensors and parts that it
    holds, and rank 0 with all that is said beside them.
    """
    network = _network(config)
    files = _files({WEIGHTS: tensors, STATE: state, REPLAY: replay}, Compression() if compress else None)
    # A rank has slices alone; what they make together is checked before rank 0 writes the manifest.
    if network is not None and peers is None:
        _check_network(network, files, os.fspath(path))

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

    if peers is not None:
        return write_together(path, files, build, peers, overwrite=overwrite, wait=wait)
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
    files: dict[str, TensorFile] = {}
    for name, arrays in given.items():
        parts = arrays if isinstance(arrays, list | tuple) and arrays else None
        for part in parts or [arrays]:
            if not isinstance(part, Mapping) and (part is not None or name == WEIGHTS or parts):
                kind = printable(type(part).__name__)
                what = f"must be a mapping of names to arrays, not a {kind}"
                raise WeightsError(what, where=name, code="weights.name")
        if parts:
            files |= {shard_name(name, i, len(parts)): tensor_file(part, form) for i, part in enumerate(parts, 1)}
        elif arrays is not None:
            files[name] = tensor_file(arrays, form)
    return files


def tensor_file(arrays: Mapping[str, Any], form: Compression | None = None) -> TensorFile:
    """Return the file that arrays by name make; a `Part` is stored as the slice that it is."""
    slices = {name: Slice(of=part.of, at=part.at) for name, part in arrays.items() if isinstance(part, Part)}
    stored, tied = payloads(arrays)
    return TensorFile(stored, tied, form, {name: part for name, part in slices.items() if name in stored})


def _network(config: Config | Mapping[str, Any] | None) -> Blueprint | None:
    if config is None:
        return None
    if isinstance(config, Mapping):
        return Blueprint.of(ModelConfig.from_dict(config))
    if not isinstance(getattr(config, "family", None), str):
        raise ManifestError("must be the config of a network or a mapping of its fields", where="$.config")
    return Blueprint.of(config)


def _check_network(network: Blueprint, files: Mapping[str, TensorFile], where: str) -> None:
    stored = {
        name: tensor
        for file, content in files.items()
        if plain_name(file) == WEIGHTS
        for name, tensor in content.whole().items()
    }
    if found := list(network.mismatches(stored)):
        raise WeightsError(
            f"the tensors are not those of a {network.name} network: {printable(found[0], 200)}",
            where=where,
            fix="give the config of this network, or none",
            code="weights.shape",
        )
