"""Make a whole checkpoint of a damaged one, as far as that can be proved.

A tensor whose bytes are not those that the manifest names is taken from another checkpoint that holds a tensor
of that very digest: the result is the checkpoint as it was. A manifest that is lost or damaged is made anew
from the headers of the files; what the tensors held before cannot be proved then, and the result says so.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from ckptfmt.errors import CkptError, ManifestError, NotACheckpoint, WeightsError, WriteError, printable
from ckptfmt.families.blueprint import read_blueprint
from ckptfmt.format.datafile import DataFile, begins_with
from ckptfmt.format.files import (
    MANIFEST,
    SIGNATURE,
    WEIGHTS,
    compressed_name,
    is_there,
    open_near,
    read_manifest,
    release,
)
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.parse import LineEnds, parse_manifest
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import TensorInfo, tensor_bytes
from ckptfmt.format.shards import is_data_file, plain_name
from ckptfmt.format.travelled import lf
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.kept import KeptTensor, as_before, unchanged
from ckptfmt.store.rebuild import remains
from ckptfmt.store.salvage import StoredTensor, open_damaged
from ckptfmt.store.write import Payload, TensorFile, write_checkpoint

__all__ = ["Repair", "repair"]

# The digest of a tensor and how many bytes it has.
_Bytes = tuple[str, int]


@record
class Repair:
    """What was done: `restored` maps damaged tensors to the checkpoint they were taken from.

    `rebuilt` says that the manifest was made anew, and why; then `unproved` names the tensors of which nothing
    shows that they hold what they held, and `lost` what the old manifest said and the new one does not.
    `written` is the path of the result, "" where nothing had to be done.
    """

    path: str
    written: str = ""
    restored: Mapping[str, str] = field(default_factory=dict)
    rebuilt: str = ""
    unproved: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    architecture: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the repair with the keys of `report.schema.json`."""
        return {
            "path": self.path,
            "dest": self.written or None,
            "restored": dict(self.restored),
            "rebuilt": self.rebuilt or None,
            "unproved": list(self.unproved),
            "lost": list(self.lost),
            "architecture": self.architecture,
        }


def repair(
    path: str | os.PathLike[str],
    dest: str | os.PathLike[str] | None = None,
    *,
    siblings: Sequence[str | os.PathLike[str]] = (),
    in_place: bool = False,
    dry_run: bool = False,
) -> Repair:
    """Write what `path` was to the new folder `dest` (`PATH-repaired` by default), or over it with `in_place`.

    Damaged tensors are looked for in the checkpoints `siblings`, by digest. With `dry_run` nothing is written.
    Raises `WeightsError` that names the tensors that were found nowhere, and with `in_place` `WriteError` where
    something of the old folder would be lost; nothing is written then.
    """
    where = os.fspath(path)
    target = where if in_place else os.fspath(dest) if dest is not None else where.rstrip("/") + "-repaired"
    with contextlib.ExitStack() as stack:
        folder = open_near(where)
        stack.callback(release, folder)
        read, rewritten = _read(folder, where), False
        try:
            manifest = _manifest(folder, where)
        except LineEnds:
            manifest, rewritten = _manifest(folder, where, lf), True
        except (ManifestError, NotACheckpoint) as e:
            return _rebuild(folder, read, target, where, e, in_place, dry_run)
        others = [stack.enter_context(Checkpoint(sibling)) for sibling in siblings]
        files, restored = _collect(folder, where, manifest, others, stack)
        if restored is None and not rewritten:
            return Repair(where, architecture=_name(manifest))
        done = Repair(where, "" if dry_run else target, restored or {}, architecture=_name(manifest))
        if in_place:
            _require_listed(folder, files, where)
        if not dry_run:
            write_checkpoint(
                target,
                files,
                lambda entries: unchanged(manifest, entries, where),
                overwrite=in_place,
                expected=read if in_place else None,
                kept=(SIGNATURE,) if in_place else (),
            )
        return done


def _manifest(folder: int, where: str, text: Callable[[bytes], bytes] = bytes) -> Manifest:
    place = os.path.join(where, MANIFEST)
    manifest = parse_manifest(text(read_manifest(folder, where=where)), where=place)
    read_blueprint(manifest, where=place)
    return manifest


def _name(manifest: Manifest) -> str | None:
    return manifest.architecture.name if manifest.architecture else None


def _collect(
    folder: int, where: str, manifest: Manifest, others: Sequence[Checkpoint], stack: contextlib.ExitStack
) -> tuple[dict[str, TensorFile], dict[str, str] | None]:
    """Return what each file holds, and which tensors come from where; None for the latter where all is whole."""
    files, restored, lost, whole = {}, {}, [], True
    held = _held(others)
    for name, entry in manifest.files.items():
        tensors: dict[str, Payload] = {}
        header, infos = entry.header
        forms, sound = open_damaged(folder, name, entry.segments, where, stack)
        whole = whole and sound and _is_intact(forms[0], entry)
        for info in infos:
            own = [StoredTensor(info.dtype, info.shape, file, len(header) + info.begin) for file in forms]
            digest = entry.tensors[info.name].digest
            if sound_one := next((tensor for tensor in own if tensor.digest() == digest), None):
                tensors[info.name] = sound_one
            elif found := _borrow(digest, info, held):
                tensors[info.name] = found
                restored[info.name] = found.checkpoint.path
            else:
                lost.append(f"{name}: {printable(info.name)}")
        files[name] = TensorFile(tensors, entry.tied, as_before(forms[0].compressed), entry.slices)
    if lost:
        raise WeightsError(
            # Five names and their files fill a sentence.
            f"{', '.join(lost[:5])}{' and more' if len(lost) > 5 else ''} cannot be restored, no sibling has the bytes",
            where=where,
            fix="name checkpoints of the same run with siblings=",
            code="repair.lost",
        )
    return files, None if whole and not restored else restored


def _is_intact(file: DataFile, entry: FileEntry) -> bool:
    with contextlib.suppress(WeightsError):
        return file.size == entry.bytes and begins_with(file, entry.header[0])
    return False


def _held(others: Sequence[Checkpoint]) -> dict[_Bytes, deque[KeptTensor]]:
    """Return the tensors of other checkpoints by digest and size, in the order in which they are tried."""
    held: dict[_Bytes, deque[KeptTensor]] = {}
    for checkpoint in others:
        for file, entry in checkpoint.manifest.files.items():
            for name, tensor in entry.tensors.items():
                kept = KeptTensor(tensor.dtype, tensor.shape, checkpoint, file, name)
                held.setdefault((tensor.digest, tensor_bytes(tensor.dtype, tensor.shape)), deque()).append(kept)
    return held


def _borrow(digest: str, info: TensorInfo, held: Mapping[_Bytes, deque[KeptTensor]]) -> KeptTensor | None:
    """Return the first tensor of these bytes that can be read; one that cannot is not tried again."""
    candidates = held.get((digest, info.nbytes), ())
    while candidates:
        with contextlib.suppress(CkptError):
            for _ in candidates[0].chunks():
                pass
            return replace(candidates[0], dtype=info.dtype, shape=info.shape)
        candidates.popleft()
    return None


def _rebuild(
    folder: int, read: bytes, target: str, where: str, reason: CkptError, in_place: bool, dry_run: bool
) -> Repair:
    """Make a manifest of the files' own headers, and of what the damaged one still says."""
    with contextlib.ExitStack() as stack:
        left = remains(folder, read, where, stack)
        if WEIGHTS not in map(plain_name, left.files):
            raise NotACheckpoint(
                f"holds no {WEIGHTS}, there is nothing to rebuild", where=where, code="layout.missing-file"
            ) from reason
        if in_place:
            unreadable = not read and is_there(folder, MANIFEST)
            twice = [f"one of the two forms of {printable(name)}" for name in left.undecided]
            signature = [SIGNATURE] if is_there(folder, SIGNATURE) else []
            _refuse_loss([*([MANIFEST] if unreadable else left.lost), *twice, *signature], where)
            _require_listed(folder, left.files, where)
        done = Repair(
            where,
            "" if dry_run else target,
            rebuilt=reason.what,
            unproved=left.unproved,
            lost=left.lost,
            architecture=left.network,
        )
        if not dry_run:
            expected = read if in_place else None
            write_checkpoint(
                target,
                left.files,
                lambda entries: left.manifest(entries, reason.what),
                overwrite=in_place,
                expected=expected,
            )
        return done


def _require_listed(folder: int, files: Mapping[str, object], where: str) -> None:
    """Raise `WriteError` where a data file lies in the folder that is none of `files` in either form."""
    names = (name for name in sorted(os.listdir(folder)) if is_data_file(name))
    own = {*files, *map(compressed_name, files)}
    _refuse_loss([name for name in names if name not in own], where)


def _refuse_loss(lost: Sequence[str], where: str) -> None:
    if lost:
        raise WriteError(
            f"{', '.join(map(printable, lost[:5]))}{' and more' if len(lost) > 5 else ''} would be lost",
            where=where,
            fix="repair it into a new folder, and keep this one",
            code="repair.in-place",
        )


def _read(folder: int, where: str) -> bytes:
    """Return the bytes of the manifest as it lies there, b"" where it cannot be read."""
    try:
        return read_manifest(folder, where=where)
    except CkptError:
        return b""
