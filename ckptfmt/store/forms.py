"""Compress the files of a checkpoint, or take them back to their plain form; what it is does not change."""

import os
from collections.abc import Mapping
from typing import Any

from ckptfmt.format.record import record
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.kept import kept_file
from ckptfmt.store.write import Compression, TensorFile, rewrite_files

__all__ = ["FormChange", "compress", "decompress"]


@record
class FormChange:
    """How many bytes each file of a checkpoint takes, before and after; `changed` are the files written anew."""

    path: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    changed: tuple[str, ...]
    content_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the change with the keys of `report.schema.json`."""
        return {
            "path": self.path,
            "before": dict(self.before),
            "after": dict(self.after),
            "changed": list(self.changed),
            "content_digest": self.content_digest,
        }


def compress(
    path: str | os.PathLike[str], *, everything: bool = False, level: int = 3, dry_run: bool = False, wait: float = 0.0
) -> FormChange:
    """Store each plain file as zstd that gets a tenth smaller by it, with `everything` each that gets smaller at all.

    The checkpoint is replaced in one step, its manifest stays as it is. With `dry_run` nothing is written.
    Raises `WeightsError` where it is damaged, and what `save` raises.
    """
    # Level 3, zstd's own: nobody waits for this as a training waits for a save, which takes 1.
    how = Compression(level, 0.0 if everything else Compression().least)
    with Checkpoint(path) as checkpoint:
        plain = [name for name in checkpoint.manifest.files if not checkpoint.compressed(name)]
        return _change(checkpoint, {name: kept_file(checkpoint, name, how) for name in plain}, dry_run, wait)


def decompress(path: str | os.PathLike[str], *, dry_run: bool = False, wait: float = 0.0) -> FormChange:
    """Store each compressed file as the plain one again. Raises as `compress`."""
    with Checkpoint(path) as checkpoint:
        packed = [name for name in checkpoint.manifest.files if checkpoint.compressed(name)]
        return _change(checkpoint, {name: kept_file(checkpoint, name) for name in packed}, dry_run, wait)


def _change(checkpoint: Checkpoint, files: Mapping[str, TensorFile], dry_run: bool, wait: float) -> FormChange:
    before = {name: checkpoint.stored_bytes(name) for name in checkpoint.manifest.files}
    sizes = {name: _size(file, checkpoint.manifest.files[name].bytes) for name, file in files.items()}
    changed = tuple(name for name, size in sizes.items() if size is not None)
    after = before | {name: size for name, size in sizes.items() if size is not None}
    if changed and not dry_run:
        again = {name: files[name] for name in changed}
        rewrite_files(checkpoint.path, again, expected=checkpoint.manifest, wait=wait)
    return FormChange(checkpoint.path, before, after, changed, checkpoint.manifest.content_digest)


def _size(file: TensorFile, plain: int) -> int | None:
    """Return how many bytes a file takes in the form it asks for, None where that form is not worth it."""
    if file.compression is None:
        return plain
    # The one import that waits: only who compresses needs zstd.
    from ckptfmt.store.write.compressing import compressed_size

    size = compressed_size(file, file.compression)
    return size if size <= file.compression.most(plain) else None
