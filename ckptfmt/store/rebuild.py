"""What a checkpoint without a sound manifest is rebuilt of: its files, and what the damaged manifest still says."""

import contextlib
import os
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.families.answer import Candidate
from ckptfmt.families.blueprint import Blueprint, read_blueprint
from ckptfmt.families.tell import classify
from ckptfmt.format.datafile import DataFile
from ckptfmt.format.document import fields_of
from ckptfmt.format.files import MANIFEST, WEIGHTS, compressed_name
from ckptfmt.format.manifest import FileEntry, Lineage, Manifest
from ckptfmt.format.parse import raw_manifest
from ckptfmt.format.prerelease import settled
from ckptfmt.format.provenance import created_by, instant
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import parse_header
from ckptfmt.format.shards import plain_name
from ckptfmt.store.kept import as_before
from ckptfmt.store.salvage import StoredTensor, open_forms
from ckptfmt.store.write import TensorFile

__all__ = ["Remains", "remains"]

# In either form of 1.0, and anywhere: a damaged manifest is no JSON any more.
_DIGEST = re.compile(rb'"(?:digest": ?"blake3:|blake3": ?")([0-9a-f]{64})"')
_WORDS = ("environment", "training_info", "evaluation", "lineage", "conversion", "resume", "extra")
_NETWORK = ("architecture", "config", "config_origin")


@record
class Remains:
    """What is left of a checkpoint: its files, and what is still said of it.

    `unproved` are the tensors of which no digest is known; `undecided` those of them that lie there twice, in two
    forms that differ; `lost` the fields of the manifest that cannot be read any more.
    """

    files: Mapping[str, TensorFile]
    words: Mapping[str, Any]
    unproved: tuple[str, ...]
    undecided: tuple[str, ...]
    lost: tuple[str, ...]
    network: str | None

    def manifest(self, entries: Mapping[str, FileEntry], because: str) -> Manifest:
        """Return the manifest of the files written again, which says that it was made anew and why."""
        told = {"because": because, "unproved": list(self.unproved), "lost": list(self.lost)}
        words = {"lineage": Lineage(kind="rebuilt"), **self.words}
        words["extra"] = {**words.get("extra", {}), "rebuilt": told}
        return Manifest(created_at=instant(), created_by=created_by(), files=entries, content_digest="", **words)


def remains(folder: int, damaged: bytes, where: str, stack: contextlib.ExitStack) -> Remains:
    """Return what is left in a folder, whose manifest has the bytes `damaged`, b"" where there is none."""
    known = {f"blake3:{digest.decode()}" for digest in _DIGEST.findall(damaged)}
    raw = _raw(damaged, where)
    lost = ["all of the manifest"] if damaged and raw is None else []
    said = raw or {}
    files: dict[str, TensorFile] = {}
    unproved: list[str] = []
    undecided: list[str] = []
    for name in sorted({name.removesuffix(compressed_name("")) for name in os.listdir(folder)}):
        forms = _forms(folder, name, where, stack) if plain_name(name) else []
        if not forms:
            continue
        chosen = {tensor: _chosen(tensor, forms, known) for tensor in forms[0]}
        unproved += [tensor for tensor, one in chosen.items() if one.digest() not in known]
        undecided += [tensor for tensor in chosen if tensor in unproved and _differs(tensor, forms)]
        compressed = next(iter(forms[0].values())).file.compressed if forms[0] else False
        entry = _entry(said, name, chosen, lost)
        tied = dict(entry.tied) if entry else {}
        slices = {tensor: info.slice for tensor, info in entry.tensors.items() if info.slice} if entry else {}
        files[name] = TensorFile(dict(chosen), tied, as_before(compressed), slices)
    words = dict(_words(said, lost, where))
    words |= _network(said, files, lost, where)
    named = words.get("architecture")
    return Remains(files, words, tuple(unproved), tuple(undecided), tuple(lost), named.name if named else None)


def _raw(damaged: bytes, where: str) -> Mapping[str, Any] | None:
    try:
        return settled(raw_manifest(damaged, where=where)[0])
    except (CkptError, TypeError, AttributeError, KeyError):
        # What was damaged in an older form may be of any shape.
        return None


def _forms(folder: int, name: str, where: str, stack: contextlib.ExitStack) -> list[dict[str, StoredTensor]]:
    """Return the tensors of a file in each form in which it can be read; raise where it can be in none."""
    found, failure = [], None
    for file in open_forms(folder, name, where, stack):
        try:
            found.append(_tensors(file))
        except WeightsError as e:
            failure = failure or e
    if failure is not None and not found:
        raise failure
    return found


def _tensors(file: DataFile) -> dict[str, StoredTensor]:
    header = parse_header(file.read, file.size, where=file.where)
    return {t.name: StoredTensor(t.dtype, t.shape, file, header.data_start + t.begin) for t in header.tensors}


def _chosen(name: str, forms: list[dict[str, StoredTensor]], known: set[str]) -> StoredTensor:
    """Return a tensor from the first form in which its digest is known, else from the first one."""
    return next((form[name] for form in forms if name in form and form[name].digest() in known), forms[0][name])


def _differs(name: str, forms: list[dict[str, StoredTensor]]) -> bool:
    digest = forms[0][name].digest()
    return any(name not in form or form[name].digest() != digest for form in forms[1:])


def _entry(said: Mapping[str, Any], name: str, tensors: Mapping[str, object], lost: list[str]) -> FileEntry | None:
    """Return what a damaged manifest says of a file, where that can be; add it to `lost` else."""
    if not said:
        return None
    try:
        entry = FileEntry.from_dict(said["files"][name], relaxed=True)
    except (CkptError, KeyError, TypeError):
        entry = None
    if entry is None or entry.tensors.keys() != tensors.keys() or not set(entry.tied.values()) <= tensors.keys():
        lost.append(f"files.{name}")
        return None
    return entry


def _words(said: Mapping[str, Any], lost: list[str], where: str) -> Iterator[tuple[str, Any]]:
    """Yield the fields that say something of the checkpoint and can be read; add the others to `lost`."""
    known = fields_of(Manifest)
    lost += sorted(said.keys() - known.keys())
    for name in _WORDS:
        if name in said:
            try:
                yield name, known[name].kind.parse(said[name], where, True)
            except CkptError:
                lost.append(name)


def _network(said: Mapping[str, Any], files: Mapping[str, TensorFile], lost: list[str], where: str) -> dict[str, Any]:
    """Return what is known of the network: what the manifest says where that fits the tensors, else what these tell."""
    whole = {
        name: tensor
        for file, content in files.items()
        if plain_name(file) == WEIGHTS
        for name, tensor in content.whole().items()
    }
    known = fields_of(Manifest)
    if said.get("config") is not None:
        with contextlib.suppress(CkptError):
            told = {name: known[name].kind.parse(said[name], where, True) for name in _NETWORK if name in said}
            alone = Manifest(created_at="", created_by={}, files={}, content_digest="", **told)
            network = read_blueprint(alone, where=os.path.join(where, MANIFEST))
            if network is None or next(network.mismatches(whole), None) is None:
                return told
        lost.append("config")
    candidate = _classified(files)
    if candidate is None or candidate.config is None:
        return {"architecture": None, "config": None}
    blueprint = Blueprint.of(candidate.config)
    return {
        "architecture": blueprint.architecture,
        "config": blueprint.config.to_dict(),
        "config_origin": dict(candidate.origin),
    }


def _classified(files: Mapping[str, TensorFile]) -> Candidate | None:
    """Return the network that the tensors are, name for name; None where that is not certain."""
    tensors = {
        name: tensor
        for file, content in files.items()
        if plain_name(file) == WEIGHTS and not content.slices
        for name, tensor in content.tensors.items()
    }

    def values(name: str) -> list[float]:
        tensor = tensors[name]
        data = b"".join(tensor.chunks())
        return list(struct.unpack(f"<{len(data) // 4}f", data)) if tensor.dtype == "F32" else []

    chosen = classify({name: tuple(tensor.shape) for name, tensor in tensors.items()}, values=values).chosen
    # Other names or shapes than its own would be a conversion, and a repair changes nothing.
    if chosen is None or chosen.config is None or next(Blueprint.of(chosen.config).mismatches(tensors), None):
        return None
    return chosen
