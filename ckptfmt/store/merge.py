"""Put a checkpoint that lies in parts together into one whose files are whole."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.format.files import SAFETENSORS
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.record import record
from ckptfmt.format.versions import FORMAT_VERSION, SHARDED_VERSION
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.kept import changed, kept_files
from ckptfmt.store.write import write_checkpoint

__all__ = ["Merge", "merge"]


@record
class Merge:
    """What became of the checkpoint at `path`: how many `parts` its files had, and where the whole one lies.

    `written` is "" where nothing was written: it was whole already, or only looked at.
    """

    path: str
    parts: int
    files: tuple[str, ...]
    written: str
    content_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the merge with the keys of `report.schema.json`."""
        return {
            "path": self.path,
            "parts": self.parts,
            "files": list(self.files),
            "dest": self.written or None,
            "written": bool(self.written),
            "content_digest": self.content_digest,
        }


def merge(
    path: str | os.PathLike[str],
    dest: str | os.PathLike[str] | None = None,
    *,
    in_place: bool = False,
    dry_run: bool = False,
    wait: float = 0.0,
) -> Merge:
    """Write the checkpoint at `path` with whole files as `dest`, or `in_place`; the network's identity stays.

    Every slice is verified as it is read, every tensor as it is whole. Where no file lies in parts, nothing is
    written. Raises `WeightsError` where it is damaged, what `ckptfmt.save` raises, and `CkptError` where no destination
    is given.
    """
    with Checkpoint(path) as checkpoint:
        manifest = checkpoint.manifest
        parts = [name for name in manifest.files if name not in SAFETENSORS]
        if parts and dest is None and not (in_place or dry_run):
            raise CkptError(
                "lies in parts, and no destination is given",
                where=checkpoint.path,
                fix="give dest= or in_place=True",
                code="merge.nowhere",
            )
        target = "" if dry_run or not parts else checkpoint.path if in_place else os.fspath(dest or "")
        if target:
            files = kept_files(checkpoint, manifest.contents)
            where = checkpoint.path
            write_checkpoint(
                target,
                files,
                lambda found: _whole(manifest, found, where),
                overwrite=in_place,
                expected=manifest if in_place else None,
                wait=wait,
            )
        return Merge(checkpoint.path, len(parts), tuple(manifest.contents), target, manifest.content_digest)


def _whole(manifest: Manifest, entries: Mapping[str, FileEntry], where: str) -> Manifest:
    """Return the manifest of the whole files; raise where a tensor came out as another."""
    whole = manifest.contents
    if any(entries[name].tensors != whole[name].tensors or entries[name].tied != whole[name].tied for name in whole):
        raise changed(where)
    # What is whole needs no newer version than it did before there were parts.
    version = FORMAT_VERSION if manifest.format_version == SHARDED_VERSION else manifest.format_version
    return dataclasses.replace(manifest, files=entries, split={}, format_version=version)
