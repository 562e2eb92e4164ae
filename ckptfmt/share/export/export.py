"""Take a checkpoint elsewhere: the file that the other library loads, with what it cannot hold said first."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ckptfmt.errors import CkptError, ConversionError, MissingPackage, missing_package
from ckptfmt.format.record import record
from ckptfmt.share.export.cleanrl import CLEANRL
from ckptfmt.share.export.dcp import dcp_outline, write_dcp_folder
from ckptfmt.share.export.hubfolder import hub_outline, write_hub_folder
from ckptfmt.share.export.plain import TORCH
from ckptfmt.share.export.sb3 import SB3
from ckptfmt.share.export.target import Outline, Target
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write.newfile import write_new

__all__ = ["TARGETS", "Export", "export", "look_at"]

_BUILT_IN: Mapping[str, Target] = {target.name: target for target in (SB3, CLEANRL, TORCH)}
# Targets that build the network first, so that torch is needed: they live where torch is known.
_WITH_TORCH: Mapping[str, str] = {"onnx": "ckptfmt.rl.export.graphs:ONNX", "pt2": "ckptfmt.rl.export.graphs:PT2"}
# Targets that are folders.
_HUB, _DCP = "hub", "dcp"
_FOLDERS: Mapping[str, tuple[Callable[[Checkpoint, str], Outline], str]] = {
    _HUB: (hub_outline, "ckptfmt.rl.export.hub:check_hub"),
    _DCP: (dcp_outline, "ckptfmt.rl.export.dcp:check_dcp"),
}
TARGETS = (*_BUILT_IN, *_WITH_TORCH, *_FOLDERS)


@record
class Export:
    """What was written, how the other library loads it, what was left out.

    `anew` is what a training that goes on there begins anew with. `checked` says what was compared once that library
    had loaded it; empty where it was not.
    """

    path: str
    to: str
    dest: str
    bytes: int
    summary: str
    loads_with: str
    left_out: tuple[str, ...]
    anew: tuple[str, ...]
    checked: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt export --json`."""
        return {
            "path": self.path,
            "to": self.to,
            "dest": self.dest,
            "bytes": self.bytes,
            "summary": self.summary,
            "loads_with": self.loads_with,
            "left_out": list(self.left_out),
            "anew": list(self.anew),
            "checked": self.checked,
        }


def export(
    path: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    to: str,
    algorithm: str = "",
    overwrite: bool = False,
    check: bool | None = None,
) -> Export:
    """Write the network of the checkpoint at `path` to `dest` as `to` reads it; a folder for `hub` and `dcp`.

    `to` is one of `TARGETS`; `algorithm` is the one of Stable-Baselines3 whose agent it becomes, where several have
    such a network, for example A2C; by default what the training says, else the first. With `check` the other library
    loads the file before it gets its name, and its answers are compared with ours; by default where that library is
    installed. Raises `ConversionError` for a network that the target cannot hold, before a byte is written,
    `TargetExists` where something lies at `dest` and `overwrite` is not given, and `CkptError` where the answers
    differ; then nothing is left there.
    """
    where = os.fspath(dest)
    if to in _FOLDERS:
        return _export_folder(path, where, to, algorithm, overwrite, check)
    target = _target(to)
    with Checkpoint(path) as checkpoint:
        outline = _outline(target, checkpoint, where, algorithm)
        with write_new(where, overwrite=overwrite) as staged:
            with open(staged, "w+b") as file:
                outline.write(file)
                file.flush()
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            # Before it gets its name: what differs never stands where somebody would load it.
            checked = _checked(target.check, checkpoint, staged, check, outline)
    said = (outline.summary, outline.loads_with, outline.left_out, outline.anew)
    return Export(os.fspath(path), to, where, size, *said, checked)


def _export_folder(
    path: str | os.PathLike[str], where: str, to: str, algorithm: str, overwrite: bool, check: bool | None
) -> Export:
    with Checkpoint(path) as checkpoint:
        outline = _folder_outline(checkpoint, where, to, algorithm)

        def compare(staged: str) -> str:
            return _checked(_FOLDERS[to][1], checkpoint, staged, check, outline)

        write = write_hub_folder if to == _HUB else write_dcp_folder
        size, checked = write(checkpoint, where, overwrite=overwrite, check=compare)
    said = (outline.summary, outline.loads_with, outline.left_out, outline.anew)
    return Export(os.fspath(path), to, where, size, *said, checked)


def _folder_outline(checkpoint: Checkpoint, where: str, to: str, algorithm: str) -> Outline:
    if algorithm:
        fix = f"leave it out, or export to {SB3.name}"
        raise CkptError(f"an export to {to} has no algorithm", fix=fix, code="export.target")
    return _FOLDERS[to][0](checkpoint, where)


def look_at(path: str | os.PathLike[str], dest: str | os.PathLike[str], *, to: str, algorithm: str = "") -> Outline:
    """Return what `export` would make of the checkpoint at `path`, and write nothing; raises what `export` does."""
    with Checkpoint(path) as checkpoint:
        if to in _FOLDERS:
            return _folder_outline(checkpoint, os.fspath(dest), to, algorithm)
        return _outline(_target(to), checkpoint, os.fspath(dest), algorithm)


def _outline(target: Target, checkpoint: Checkpoint, dest: str, algorithm: str) -> Outline:
    if algorithm and target is not SB3:
        fix = f"leave it out, or export to {SB3.name}"
        raise CkptError(f"an export to {target.name} has no algorithm", fix=fix, code="export.target")
    try:
        return target.outline(checkpoint, dest, algorithm)
    except ConversionError as e:
        # Those who look at the network know what does not fit; whose it is is known here.
        raise e.but(where=e.where or checkpoint.path) from None


def _target(to: str) -> Target:
    if to in _BUILT_IN:
        return _BUILT_IN[to]
    if to not in _WITH_TORCH:
        fix = f"use one of {', '.join(TARGETS)}"
        raise CkptError(f"there is no target {to!r}", fix=fix, code="export.target")
    target: Target = _look_up(_WITH_TORCH[to], f"export to {to}")
    return target


def _checked(function: str, checkpoint: Checkpoint, staged: str, check: bool | None, outline: Outline) -> str:
    if check is False:
        return ""
    try:
        found: str = _look_up(function, "the check")(checkpoint, staged, outline)
    except ImportError as e:
        missing = e if isinstance(e, MissingPackage) else missing_package(e, "the check")
        if check or missing is None:
            raise missing or e from None
        return ""
    except CkptError:
        raise
    except Exception as e:  # a library of others may raise anything
        said = str(e).strip().partition("\n")[0] or type(e).__name__
        fix = "check the version of that library, or leave the check out"
        raise CkptError(
            f"that library cannot load it: {said}", where=outline.loads_with, fix=fix, code="export.differs"
        ) from e
    return found


def _look_up(place: str, needed_by: str) -> Any:
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as e:
        raise missing_package(e, needed_by) or e from None
