"""A legacy file as the checkpoint that it would become, in memory: what is only loaded need not be written."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Unpack

from ckptfmt.convert.label import manifest_of
from ckptfmt.convert.plan import Plan, make_plan
from ckptfmt.errors import SourceError, printable
from ckptfmt.families.blueprint import Blueprint, read_blueprint
from ckptfmt.families.facts import Reading
from ckptfmt.format.digest import tensor_digest
from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.manifest import FileEntry, Manifest, TensorEntry
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.store.write import TensorFile
from ckptfmt.store.write.acceptance import accepted

__all__ = ["Unwritten", "convert_in_memory"]


@record
class Unwritten:
    """What a `Checkpoint` would give of a conversion; `path` is the legacy file, `stored` the bytes of its tensors."""

    path: str
    manifest: Manifest
    network: Blueprint | None
    stored: Mapping[str, bytearray]

    @property
    def config(self) -> Any:
        """Return what the network is rebuilt from, None where the network is unknown."""
        return self.network.config if self.network else None

    @property
    def training_info(self) -> Mapping[str, Any]:
        """Return what the file says of the training."""
        return self.manifest.training_info

    def names(self, file: str = WEIGHTS) -> tuple[str, ...]:
        """Return the names of the tensors, tied ones included."""
        entry = self.manifest.files[file]
        return (*entry.tensors, *entry.tied)

    def info(self, name: str, file: str = WEIGHTS) -> TensorEntry:
        """Return what the manifest says of a tensor; a tied name gives the stored one."""
        return self.manifest.files[file].named[name]

    def read(self, name: str, file: str = WEIGHTS, *, verify: bool = True) -> bytearray:
        """Return a stored tensor's bytes, the very ones that are held here: nothing lay between to be verified."""
        return self.stored[name]


def convert_in_memory(source: str | os.PathLike[str], **facts: Unpack[Reading]) -> Unwritten:
    """Return the checkpoint that `ckptfmt.convert` would make of a legacy file, of which nothing is run.

    Raises what `ckptfmt.convert` raises of the file.
    """
    given: dict[str, Any] = dict(facts)
    reading = {name: given.pop(name) for name in ("key", "allow_unsafe", "settings") if name in given}
    with make_plan(source, given=given, **reading) as plan:
        try:
            entry, stored = _entry(plan)
            _, manifest = accepted(manifest_of(plan, {WEIGHTS: entry}, verified=False), where=plan.path)
        except SourceError as e:
            # A source that was changed or cut short meanwhile explains every other error.
            plan.legacy.check_unchanged()
            raise e.but(where=e.where or printable(plan.path)) from None
        return Unwritten(plan.path, manifest, read_blueprint(manifest, where=plan.path), stored)


def _entry(plan: Plan) -> tuple[FileEntry, dict[str, bytearray]]:
    """Return the entry of the file that the tensors would make, and their bytes."""
    header, infos = TensorFile(plan.tensors).arranged()
    sha256, stored, tensors = hashlib.sha256(header), {}, {}
    for info in infos:
        stored[info.name] = data = _taken(plan.tensors[info.name])
        sha256.update(data)
        digest = tensor_digest([data])
        tensors[info.name] = TensorEntry(dtype=info.dtype, shape=info.shape, offset=info.begin, digest=digest)
    size = len(header) + (infos[-1].end if infos else 0)
    return FileEntry(bytes=size, sha256=sha256.hexdigest(), tensors=tensors, tied=plan.tied), stored


def _taken(tensor: LegacyTensor) -> bytearray:
    data = bytearray()
    for chunk in tensor.chunks():
        data += chunk
    return data
