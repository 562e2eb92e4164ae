"""Make a whole checkpoint of a damaged one, as far as that can be proved.

A tensor whose bytes are not those that the manifest names is taken from another checkpoint that holds a tensor
of that very digest: the result is the checkpoint as it was. A manifest that is lost or damaged is made anew
from the headers of the files; what the tensors held before cannot be proved then, and the result says so.
"""

import contextlib
import os
import re
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from ckptfmt.errors import CkptError, ManifestError, NotACheckpoint, WeightsError, printable
from ckptfmt.families.answer import Candidate
from ckptfmt.families.blueprint import Blueprint, read_blueprint
from ckptfmt.families.tell import classify
from ckptfmt.format.datafile import DataFile, begins_with
from ckptfmt.format.files import (
    MANIFEST,
    SAFETENSORS,
    WEIGHTS,
    open_near,
    read_manifest,
    release,
)
from ckptfmt.format.manifest import FileEntry, Lineage, Manifest
from ckptfmt.format.parse import LineEnds, parse_manifest
from ckptfmt.format.provenance import created_by, instant
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import TensorInfo, parse_header, tensor_bytes
from ckptfmt.format.travelled import lf
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.kept import KeptTensor, as_before, unchanged
from ckptfmt.store.salvage import StoredTensor, open_damaged, open_unlisted
from ckptfmt.store.write import Compression, Payload, TensorFile, write_checkpoint

__all__ = ["Repair", "repair"]

# In either form of 1.0, and anywhere: a damaged manifest is no JSON any more.
_DIGEST = re.compile(rb'"(?:digest": ?"blake3:|blake3": ?")([0-9a-f]{64})"')
# The digest of a tensor and how many bytes it has.
_Bytes = tuple[str, int]


@record
class Repair:
    """What was done: `restored` maps damaged tensors to the checkpoint they were taken from.

    `rebuilt` says that the manifest was made anew, and why; then `unproved` names the tensors of which nothing
    shows that they hold what they held. `written` is the path of the result, "" where nothing had to be done.
    """

    path: str
    written: str = ""
    restored: Mapping[str, str] = field(default_factory=dict)
    rebuilt: str = ""
    unproved: tuple[str, ...] = ()
    architecture: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the repair with the keys of `report.schema.json`."""
        return {
            "path": self.path,
            "dest": self.written or None,
            "restored": dict(self.restored),
            "rebuilt": self.rebuilt or None,
            "unproved": list(self.unproved),
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
    Raises `WeightsError` that names the tensors that were found nowhere; nothing is written then.
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
            own = _own_files(folder, where, stack)
            return _rebuild(own, read, target, where, e, in_place, dry_run)
        others = [stack.enter_context(Checkpoint(sibling)) for sibling in siblings]
        files, restored = _collect(folder, where, manifest, others, stack)
        if restored is None and not rewritten:
            return Repair(where, architecture=_name(manifest))
        done = Repair(where, "" if dry_run else target, restored or {}, architecture=_name(manifest))
        if not dry_run:
            write_checkpoint(
                target,
                files,
                lambda entries: unchanged(manifest, entries, where),
                overwrite=in_place,
                expected=read if in_place else None,
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
        file, sound = open_damaged(folder, name, entry.segments, where, stack)
        whole = whole and sound and _is_intact(file, entry)
        for info in infos:
            own = StoredTensor(info.dtype, info.shape, file, len(header) + info.begin)
            if own.digest() == entry.tensors[info.name].digest:
                tensors[info.name] = own
            elif found := _borrow(entry.tensors[info.name].digest, info, held):
                tensors[info.name] = found
                restored[info.name] = found.checkpoint.path
            else:
                lost.append(f"{name}: {printable(info.name)}")
        files[name] = TensorFile(tensors, entry.tied, as_before(file.compressed), entry.slices)
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
    files: Mapping[str, "_OwnFile"],
    read: bytes,
    target: str,
    where: str,
    reason: CkptError,
    in_place: bool,
    dry_run: bool,
) -> Repair:
    """Make a manifest of the files' own headers, and of the network that the shapes tell."""
    if WEIGHTS not in files:
        raise NotACheckpoint(
            f"holds no {WEIGHTS}, there is nothing to rebuild", where=where, code="layout.missing-file"
        ) from reason
    candidate = _classified(files[WEIGHTS])
    known = _named_digests(read)
    unproved = [
        name for file in files.values() for name, tensor in file.tensors.items() if tensor.digest() not in known
    ]
    done = Repair(
        where,
        "" if dry_run else target,
        rebuilt=reason.what,
        unproved=tuple(unproved),
        architecture=candidate.name if candidate else None,
    )
    if not dry_run:
        again = {name: TensorFile(dict(file.tensors), compression=file.form) for name, file in files.items()}
        expected = read if in_place else None
        write_checkpoint(
            target, again, lambda entries: _new(entries, candidate, done), overwrite=in_place, expected=expected
        )
    return done


@record
class _OwnFile:
    tensors: Mapping[str, StoredTensor]
    form: Compression | None


def _own_files(folder: int, where: str, stack: contextlib.ExitStack) -> dict[str, _OwnFile]:
    files = {}
    for name in SAFETENSORS:
        if (file := open_unlisted(folder, name, where)) is not None:
            stack.enter_context(file)
            header = parse_header(file.read, file.size, where=file.where)
            tensors = {
                t.name: StoredTensor(t.dtype, t.shape, file, header.data_start + t.begin) for t in header.tensors
            }
            files[name] = _OwnFile(tensors, as_before(file.compressed))
    return files


def _classified(weights: _OwnFile) -> Candidate | None:
    """Return the network that the tensors are, name for name; None where that is not certain."""
    shapes = {name: tensor.shape for name, tensor in weights.tensors.items()}

    def values(name: str) -> list[float]:
        tensor = weights.tensors[name]
        data = b"".join(tensor.chunks())
        return list(struct.unpack(f"<{len(data) // 4}f", data)) if tensor.dtype == "F32" else []

    chosen = classify(shapes, values=values).chosen
    # Other names or shapes than its own would be a conversion, and a repair changes nothing.
    if chosen is None or chosen.config is None or next(Blueprint.of(chosen.config).mismatches(weights.tensors), None):
        return None
    return chosen


def _read(folder: int, where: str) -> bytes:
    """Return the bytes of the manifest as it lies there, b"" where it cannot be read."""
    try:
        return read_manifest(folder, where=where)
    except CkptError:
        return b""


def _named_digests(damaged: bytes) -> set[str]:
    """Return the digests of tensors that a damaged manifest still names."""
    return {f"blake3:{digest.decode()}" for digest in _DIGEST.findall(damaged)}


def _new(entries: Mapping[str, FileEntry], candidate: Candidate | None, done: Repair) -> Manifest:
    network = Blueprint.of(candidate.config) if candidate and candidate.config else None
    return Manifest(
        created_at=instant(),
        created_by=created_by(),
        architecture=network.architecture if network else None,
        config=network.config.to_dict() if network else None,
        config_origin=dict(candidate.origin) if candidate else {},
        lineage=Lineage(kind="rebuilt"),
        files=entries,
        extra={"rebuilt": {"because": done.rebuilt, "unproved": list(done.unproved)}},
        content_digest="",
    )
