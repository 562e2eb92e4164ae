"""A folder for the Hugging Face hub: a checkpoint that other loaders read as well, with a card.

The weights are called as every loader there expects it, the config is the file that a mixin reads, and the manifest
lists the weights alone: state and replay buffer stay at home.
"""

import base64
import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from ckptfmt.errors import CkptError
from ckptfmt.format.files import HUB_WEIGHTS, MANIFEST, WEIGHTS, is_companion, open_file, open_near, release
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.look.validate import validate
from ckptfmt.share.export.card import FILM, PICTURE, card
from ckptfmt.share.export.newfolder import write_new_folder
from ckptfmt.share.export.target import Outline, left_out
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.kept import kept_file
from ckptfmt.store.write import write_checkpoint

__all__ = ["hub_outline", "write_hub_folder"]

_OWN = (MANIFEST, HUB_WEIGHTS, WEIGHTS, PICTURE)


def hub_outline(checkpoint: Checkpoint, dest: str) -> Outline:
    """Return what the folder will be."""
    architecture = checkpoint.manifest.architecture
    network = architecture.title if architecture else "network of an unknown architecture"
    what = f"a folder for the hub: {network}, as a checkpoint with model.safetensors, config.json and a card"
    # Evaluations stay in the manifest, and stand in the card.
    away = tuple(part for part in left_out(checkpoint) if part != "evaluations")
    return Outline(what, f'ckptfmt.load_model_checkpoint("{dest}")', _no_file, away)


def _no_file(_: BinaryIO) -> None:
    """Write nothing: a folder is written by `write_hub_folder`."""


def write_hub_folder(
    checkpoint: Checkpoint, dest: str, *, overwrite: bool, check: Callable[[str], str]
) -> tuple[int, str]:
    """Write the folder whole or not at all; return its bytes, and what `check` said of it before it got its name.

    Raises `TargetExists` where something lies at `dest` that is not such a folder, or one is and `overwrite` was not
    given.
    """
    name = os.path.basename(os.path.abspath(dest))
    with write_new_folder(dest, _is_own, overwrite=overwrite) as folder:
        files = {WEIGHTS: kept_file(checkpoint, WEIGHTS)}
        write_checkpoint(folder, files, lambda entries: _manifest(checkpoint, entries))
        os.rename(os.path.join(folder, WEIGHTS), os.path.join(folder, HUB_WEIGHTS))
        for file, data in _companions(checkpoint, name).items():
            _write(os.path.join(folder, file), data)
        if film := _film(checkpoint.path):
            _copy_film(checkpoint.path, film, os.path.join(folder, FILM))
        # What was odd before is said by `validate`; what is wrong is of no use to anybody.
        if wrong := [problem for problem in validate(folder).problems if problem.severity == "error"]:
            raise CkptError(wrong[0].message, where=f"{dest}/{wrong[0].where}", code=wrong[0].code)
        checked = check(folder)
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
    return size, checked


def _manifest(checkpoint: Checkpoint, entries: Mapping[str, FileEntry]) -> Manifest:
    return replace(checkpoint.manifest, files=entries, resume=None, content_digest="", manifest_digest="")


def _companions(checkpoint: Checkpoint, name: str) -> dict[str, bytes]:
    picture = _picture(checkpoint)
    text = card(checkpoint, name, film=bool(_film(checkpoint.path)), picture=bool(picture))
    config = json.dumps(_config(checkpoint), indent=2, ensure_ascii=True) + "\n"
    made = {"README.md": text.encode(), "config.json": config.encode()}
    return {**made, PICTURE: picture} if picture else made


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a mixin hands to its class, and what tells other programs whose model this is."""
    architecture = checkpoint.manifest.architecture
    if architecture is None:
        return {"model_type": "ckptfmt"}
    told = {"model_type": f"ckptfmt-{architecture.family}", "family": architecture.family, "name": architecture.name}
    return {**told, "config": checkpoint.manifest.to_dict()["config"]}


def _picture(checkpoint: Checkpoint) -> bytes:
    """Return a PNG of the filters of the first convolution, b"" where there is none or nothing that draws."""
    tensors = checkpoint.manifest.weights.tensors
    # A convolution (outputs, inputs, height, width); one of 1×1 has no picture.
    first = next((name for name, info in tensors.items() if len(info.shape) == 4 and min(info.shape[2:]) > 1), None)
    if first is None:
        return b""
    with contextlib.suppress(ImportError):
        # The pages' drawing, which not everybody has.
        from ckptfmt.report.mosaic import filters

        return base64.b64decode(filters(checkpoint.tensors[first])[0].partition(",")[2])
    return b""


def _film(path: str) -> str:
    """Return the name of a film that lies beside the files of a checkpoint, "" where there is none."""
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        films = [
            entry.name for entry in entries if entry.name.endswith(".mp4") and entry.is_file(follow_symlinks=False)
        ]
        return min(films, default="")
    return ""


def _copy_film(path: str, name: str, dest: str) -> None:
    """Copy a film; one that became a link in the meantime is refused, for it may lead to anything of the user's."""
    folder = open_near(path)
    try:
        file, _ = open_file(folder, name, where=path)
    finally:
        release(folder)
    with open(file, "rb") as source, open(dest, "xb") as target:
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())


def _is_own(name: str) -> bool:
    return name in _OWN or is_companion(name)


def _write(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
