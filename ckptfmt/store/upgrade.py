"""Bring a checkpoint that an older ckptfmt wrote to what is written today."""

import os
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.format.files import MANIFEST, open_folder, read_manifest, release
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import raw_manifest
from ckptfmt.format.record import record
from ckptfmt.format.upgrade import Step, raised, version_of
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.kept import kept_files, unchanged
from ckptfmt.store.write import update_manifest, write_checkpoint

__all__ = ["Upgrade", "upgrade"]


@record
class Upgrade:
    """What was done to the checkpoint at `path`: the `steps`, none where it is of the version asked for already.

    `new` is the version that it has then; `written` is where the result lies, "" where nothing was written.
    `content_digest` is the identity of the network, which no upgrade changes.
    """

    path: str
    old: str
    new: str
    steps: tuple[Step, ...]
    written: str
    content_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the upgrade with the keys of `report.schema.json`."""
        return {
            "path": self.path,
            "from": self.old,
            "to": self.new,
            "steps": [step.to_dict() for step in self.steps],
            "dest": self.written or None,
            "written": bool(self.written),
            "content_digest": self.content_digest,
        }


def upgrade(
    path: str | os.PathLike[str],
    dest: str | os.PathLike[str] | None = None,
    *,
    to: str | None = None,
    in_place: bool = False,
    dry_run: bool = False,
) -> Upgrade:
    """Write the checkpoint at `path` in version `to` of the format, the newest unless told, as `dest` or `in_place`.

    Only the manifest changes, the tensors and the network's identity stay. Where there is nothing to do, or with
    `dry_run`, nothing is written. Raises what `Checkpoint` raises, `TargetExists` where `dest` is there already, and
    `CkptError` where no destination is given, and for a version that does not exist or is older than what there is.
    """
    where = os.fspath(path)
    with Checkpoint(where) as checkpoint:
        raw = _raw(where)
        _, steps = raised(raw, to=to, where=where)
        idle = dry_run or not steps
        if not idle and dest is None and not in_place:
            raise CkptError(
                "it can be upgraded, but no destination is given",
                where=where,
                fix="give dest= or in_place=True",
                code="upgrade.nowhere",
            )
        target = "" if idle else where if in_place else os.fspath(dest or "")
        done = Upgrade(
            where, version_of(raw), steps[-1].new if steps else version_of(raw), steps, target,
            checkpoint.manifest.content_digest,
        )  # fmt: skip
        if target and in_place:
            update_manifest(where, lambda manifest: _raised(manifest, to, where), expected=checkpoint.manifest)
        elif target:
            _copy(checkpoint, target, _raised(checkpoint.manifest, to, where))
    return done


def _raw(where: str) -> Mapping[str, Any]:
    folder = open_folder(where)
    try:
        return raw_manifest(read_manifest(folder, where=where), where=os.path.join(where, MANIFEST))[0]
    finally:
        release(folder)


def _raised(manifest: Manifest, to: str | None, where: str) -> Manifest:
    # Parsing has brought what was written before 1.0 to 1.0; the steps from there on are taken here.
    raw = manifest.to_dict()
    return Manifest.from_dict(raised(raw, to=to, where=where)[0], where, relaxed=True)


def _copy(checkpoint: Checkpoint, target: str, manifest: Manifest) -> None:
    files = kept_files(checkpoint, manifest.files)
    write_checkpoint(target, files, lambda entries: unchanged(manifest, entries, checkpoint.path))
