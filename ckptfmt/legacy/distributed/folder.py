"""A folder of torch.distributed.checkpoint as one source: its files looked through, its tensors whole."""

import os
import stat
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import SourceError, UnsafeSource
from ckptfmt.legacy.bytes.audit import AT_ONCE, Audit
from ckptfmt.legacy.bytes.blocks import Spool, root_of
from ckptfmt.legacy.containers.reading import Reading, within
from ckptfmt.legacy.containers.zip import Record
from ckptfmt.legacy.distributed.classic import read_classic
from ckptfmt.legacy.distributed.kinds import files_of, kind_of
from ckptfmt.legacy.distributed.named import NamedBlock, open_folder
from ckptfmt.legacy.distributed.shards import read_shards
from ckptfmt.legacy.listing import digest_of_list
from ckptfmt.legacy.open import UNFORESEEN, LegacyFile, Source, unpacked_limit

__all__ = ["Distributed"]


class Distributed(LegacyFile):
    """A folder of torch.distributed.checkpoint, read as one file.

    `source` gives the bytes of all its files, and the SHA-256 of the list that `sha256sum` prints of them.
    """

    def __init__(self, path: str, allow_unsafe: bool) -> None:
        self.path = path
        self._blocks: dict[str, NamedBlock] = {}
        self._digests: dict[str, str] = {}
        with within(path):
            self._folder = open_folder(path)
            try:
                names = _names(self._folder)
                self._reading = Reading(Spool(unpacked_limit(sum(names.values()))), allow_unsafe)
                self._open(names)
            except BaseException as e:
                self.close()
                if isinstance(e, UnsafeSource):
                    e.source = path
                if isinstance(e, UNFORESEEN) and not isinstance(e, SourceError):
                    what = f"cannot be read as a checkpoint ({type(e).__name__})"
                    raise SourceError(what, fix="copy it again", code="source.unforeseen") from e
                raise
        self.warnings = tuple(self._reading.warnings)
        self.placeholders = tuple(self._reading.placeholders)
        self.constants = 0
        self.texts: Mapping[str, bytes] = {}

    @property
    def source(self) -> Source:
        """Return the description of all files together, once they were looked through; raise `SourceError`."""
        self._look_through()
        return Source(
            os.path.basename(os.path.normpath(self.path)),
            sum(block.size for block in self._blocks.values()),
            digest_of_list(self._digests),
            self.container,
            self._reading.protocol,
            tuple(self._reading.globals),
        )

    def check_unchanged(self) -> None:
        """Raise `SourceError` if one of the files is damaged, or changed since it was opened."""
        self._look_through()
        for name, block in self._blocks.items():
            with within(self.path), within(name):
                block.check_unchanged()

    def close(self) -> None:
        """Give the folder back; the tensors cannot be read any more."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
        if hasattr(self, "_reading"):
            self._reading.spool.close()

    def _open(self, names: Mapping[str, int]) -> None:
        if kind_of(self.path) == "classic":
            self.container = "dcp"
            found: Any = read_classic(names, self._file, self._reading)
        else:
            self.container = "dcp-safetensors"
            found = read_shards(names, self._file, self._reading)
        for name in files_of(self.path):
            self._file(name)
        self.members: Mapping[str, Any] = {"": found}
        if sum(block.size for block in self._blocks.values()) <= AT_ONCE:
            self._look_through()

    def _file(self, name: str) -> NamedBlock:
        if name not in self._blocks:
            self._blocks[name] = NamedBlock(self._folder, name)
        return self._blocks[name]

    def _look_through(self) -> None:
        """Take the SHA-256 of each file, and check the CRC of each record in it; one file after another."""
        if self._digests:
            return
        records: dict[int, list[Record]] = {}
        for record in self._reading.records:
            records.setdefault(id(root_of(record.block)[0]), []).append(record)
        digests = {}
        for name, block in self._blocks.items():
            with within(self.path), within(name):
                audit = Audit(block, records.pop(id(block), ()))
                try:
                    digests[name] = audit.result()
                finally:
                    audit.cancel()
        self._digests = digests


def _names(folder: int) -> dict[str, int]:
    """Return the size of each regular file in an open folder."""
    found = {}
    for name in os.listdir(folder):
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(state.st_mode):
            found[name] = state.st_size
    return found
