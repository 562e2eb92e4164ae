"""Commit: stage beside the target, flush, read back, publish by one rename.

Everything is written and flushed in a staging folder beside the target, the manifest last, and read back;
then one rename publishes it. At every instant the target is the old checkpoint or the new one, whole.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ckptfmt.errors import WriteError
from ckptfmt.format.files import MANIFEST, SAFETENSORS, open_folder, read_manifest, release
from ckptfmt.format.manifest import FileEntry, Manifest, parse_manifest
from ckptfmt.format.siblings import stage_name
from ckptfmt.store.write.acceptance import accepted
from ckptfmt.store.write.datafile import TensorFile, create, write_all, write_tensors
from ckptfmt.store.write.failure import reported, require_space
from ckptfmt.store.write.place import Place, discard, hold_place, sync_folder
from ckptfmt.store.write.publish import publish_file, publish_folder

__all__ = ["remove_checkpoint", "stage", "update_manifest", "write_checkpoint", "write_file"]

# What a manifest takes beside the tensors: a part of its own, and a part for each tensor.
_MANIFEST_SPACE = 64 << 10
_TENSOR_SPACE = 512


def write_checkpoint(
    path: str | os.PathLike[str],
    files: Mapping[str, TensorFile],
    build: Callable[[Mapping[str, FileEntry]], Manifest],
    *,
    overwrite: bool = False,
    wait: float = 0.0,
    bulk: bool = False,
) -> Manifest:
    """Write a checkpoint of `files` (names of `layout.SAFETENSORS`) at `path` and return its manifest.

    `build` is called once all tensors are on the disk, with the entries that describe them; digests are filled
    in afterwards. Another writer of the same path is waited for `wait` seconds. With `overwrite` a checkpoint
    that is there is replaced in one step; without it, and for anything that is no checkpoint, `TargetExists`
    is raised. `bulk` is for one of many checkpoints, as of `write_tensors`. Every failure raises `WriteError`
    and leaves what was there before.
    """
    where = os.fspath(path)
    if unknown := sorted(set(files) - set(SAFETENSORS)):
        raise WriteError(f"a checkpoint has no file {unknown[0]}", where=where, code="write.file-name")
    with reported(where), hold_place(path, wait=wait) as place:
        occupant = place.occupant(overwrite=overwrite)
        require_space(place.folder, _space(files), where=where)
        with stage(place) as staged:
            entries = {name: write_tensors(staged.folder, name, files[name], where=where, bulk=bulk) for name in files}
            data, manifest = accepted(build(entries), where=where)
            write_file(staged.folder, MANIFEST, data, where=where)
            os.fsync(staged.folder)
            publish_folder(place, staged.name, manifest, replacing=occupant == "checkpoint")
    return manifest


def update_manifest(
    path: str | os.PathLike[str], change: Callable[[Manifest], Manifest], *, wait: float = 0.0
) -> Manifest:
    """Replace the manifest of the checkpoint at `path` by `change` of it, in one step, and return the new one.

    The files of the checkpoint are not touched and stay listed as they are. Raises as `write_checkpoint`.
    """
    where = os.fspath(path)
    with reported(where), _existing(path), hold_place(path, wait=wait) as place:
        folder = open_folder(path)
        try:
            current = parse_manifest(read_manifest(folder, where=where), where=os.path.join(where, MANIFEST))
            changed = change(current)
            if changed.files != current.files:
                raise WriteError("the files listed cannot change", where=where, code="write.file-name")
            data, manifest = accepted(changed, where=where)
            name = stage_name(place.name)
            try:
                write_file(place.folder, name, data, where=where)
                publish_file(place.folder, name, folder, MANIFEST)
            finally:
                discard(place.folder, name)
        finally:
            release(folder)
    return manifest


def remove_checkpoint(path: str | os.PathLike[str], *, wait: float = 0.0) -> None:
    """Remove the checkpoint at `path`: from one instant to the next it is not there any more.

    Raises `TargetExists` where it holds foreign files, `WriteError` where somebody writes it.
    """
    where = os.fspath(path)
    with reported(where), _existing(path), hold_place(path, wait=wait) as place:
        if place.occupant(overwrite=True) == "checkpoint":
            name = stage_name(place.name)
            os.rename(place.name, name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
            # Else a power cut may bring the name back after the files have gone.
            sync_folder(place.folder)
            discard(place.folder, name)


@contextlib.contextmanager
def _existing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise `NotACheckpoint` where there is no folder, before anything is made for a lock."""
    release(open_folder(path))
    yield


def write_file(folder: int, name: str, data: bytes, *, where: str) -> None:
    """Write a new file, flushed to the disk and read back."""
    file = create(folder, name)
    try:
        write_all(file, data)
        os.fsync(file)
        same = os.pread(file, len(data) + 1, 0) == data
    except BaseException:
        release(file)
        raise
    os.close(file)
    if not same:
        raise WriteError(
            "what was read back is not what was written",
            where=os.path.join(where, name),
            fix="look after the disk",
            code="write.read-back",
        )


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    folder: int


@contextlib.contextmanager
def stage(place: Place) -> Iterator[_Stage]:
    """Make a staging folder; whatever has its name in the end, the predecessor for one, is removed."""
    name = stage_name(place.name)
    try:
        os.mkdir(name, dir_fd=place.folder)
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.folder)
        try:
            yield _Stage(name, folder)
        finally:
            release(folder)
    finally:
        discard(place.folder, name)


def _space(files: Mapping[str, TensorFile]) -> int:
    needed = _MANIFEST_SPACE
    for file in files.values():
        header, infos = file.layout()
        needed += len(header) + (infos[-1].end if infos else 0) + _TENSOR_SPACE * len(infos)
    return needed
