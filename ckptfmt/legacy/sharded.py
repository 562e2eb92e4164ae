"""A network that was saved in several files, with an index that says which tensor lies in which (huggingface, PyTorch).

The index is JSON: `weight_map` gives each tensor's name the name of a file in the same folder.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import SourceError, TooCostly, printable
from ckptfmt.format import jsontext
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.containers.reading import within
from ckptfmt.legacy.distributed.folder import Distributed
from ckptfmt.legacy.distributed.kinds import is_distributed, refuse_part
from ckptfmt.legacy.distributed.shards import check_whole
from ckptfmt.legacy.folders import policy_file, refuse_folder
from ckptfmt.legacy.listing import digest_of_list
from ckptfmt.legacy.open import LegacyFile, Source, open_block, read

__all__ = ["INDEX", "is_shard", "open_source", "shards_of"]

INDEX = ".index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<part>[0-9]{5})-of-(?P<parts>[0-9]{5})(?P<suffix>\.(?:safetensors|bin|pt|pth))")
# A line for each tensor, and a file for each few gigabytes: the largest models that were published have some hundreds.
_MAX_INDEX = 16 << 20
_MAX_SHARDS = 1024


def open_source(path: str | os.PathLike[str], *, allow_unsafe: bool = False) -> LegacyFile:
    """Return the open legacy file at `path`, or all files of one network by their index or folder.

    Of a folder of RLlib it is the file of its one policy. Raises as `read`.
    """
    name = os.fsdecode(path)
    name = policy_file(name) or name
    refuse_folder(name)
    if name.endswith(INDEX):
        return Sharded(name, shards_of(name), allow_unsafe)
    found = _SHARD.fullmatch(os.path.basename(name))
    # One part of one is the whole network.
    if found and found["parts"] != "00001" and os.path.exists(name):
        index = os.path.join(os.path.dirname(name), f"{found['stem']}{found['suffix']}{INDEX}")
        there = os.path.exists(index)
        raise SourceError(
            f"is part {int(found['part'])} of {int(found['parts'])} of one network",
            where=name,
            fix=f"give its index: {index}" if there else f"give {os.path.basename(index)}, which is not beside it",
            code="source.shard",
        )
    refuse_part(name)
    if is_distributed(name):
        return Distributed(name, allow_unsafe)
    legacy = read(name, allow_unsafe=allow_unsafe)
    try:
        legacy.warnings += check_whole(legacy.members, name)
    except BaseException:
        legacy.close()
        raise
    return legacy


def is_shard(name: str) -> bool:
    """Return whether a file is called as one of several of one network."""
    return _SHARD.fullmatch(name) is not None


def shards_of(path: str) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the tensors in each file that an index lists; raise `SourceError` for what is none."""
    with within(path):
        block = open_block(path)
    try:
        data = block.read(0, min(block.size, _MAX_INDEX + 1))
    finally:
        block.close()
    index = jsontext.parse(data, where=path, limit=_MAX_INDEX, error=SourceError, code="source.shard")
    weights = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weights, dict) or not weights or not all(isinstance(file, str) for file in weights.values()):
        raise SourceError("is not an index of a network in several files", where=path, code="source.shard")
    found: dict[str, list[str]] = {}
    for tensor, file in weights.items():
        if os.path.basename(file) != file or file in ("", ".", ".."):
            raise SourceError(
                f"names '{printable(file)}', which is not the name of a file next to it",
                where=path,
                code="source.shard",
            )
        found.setdefault(file, []).append(tensor)
    if len(found) > _MAX_SHARDS:
        raise TooCostly(f"lists {len(found):,} files", where=path, fix="get the index from a source that you trust")
    return {file: tuple(names) for file, names in found.items()}


class Sharded(LegacyFile):
    """A network in several files, read as one; every file stays open.

    `source` gives the bytes of all of them, and the SHA-256 of the list that `sha256sum` prints of them.
    """

    def __init__(self, path: str, listed: Mapping[str, tuple[str, ...]], allow_unsafe: bool) -> None:
        self.path = path
        self._parts: dict[str, LegacyFile] = {}
        tensors: dict[str, LegacyTensor] = {}
        try:
            for file, names in sorted(listed.items()):
                self._parts[file] = read(os.path.join(os.path.dirname(path), file), allow_unsafe=allow_unsafe)
                tensors |= _tensors(self._parts[file], names)
        except BaseException:
            self.close()
            raise
        parts = self._parts.values()
        self.container = "sharded+" + "+".join(sorted({part.container for part in parts}))
        self.members: Mapping[str, Any] = {"": tensors}
        self.warnings = tuple(problem for part in parts for problem in part.warnings)
        self.placeholders = tuple(dict.fromkeys(name for part in parts for name in part.placeholders))
        self.constants = 0
        self.texts: Mapping[str, bytes] = {}

    @property
    def source(self) -> Source:
        """Return the description of all files together, once they were looked through; raise `SourceError`."""
        found = {file: part.source for file, part in self._parts.items()}
        sources = found.values()
        return Source(
            os.path.basename(self.path),
            sum(source.bytes for source in sources),
            digest_of_list({file: source.sha256 for file, source in found.items()}),
            self.container,
            next((source.pickle_protocol for source in sources), None),
            tuple(dict.fromkeys(name for source in sources for name in source.globals)),
        )

    def check_unchanged(self) -> None:
        """Raise `SourceError` if one of the files is damaged, or changed since it was opened."""
        for part in self._parts.values():
            part.check_unchanged()

    def close(self) -> None:
        """Give every file back; the tensors cannot be read any more."""
        for part in self._parts.values():
            part.close()


def _tensors(part: LegacyFile, names: tuple[str, ...]) -> dict[str, LegacyTensor]:
    check_whole(part.members, part.path)
    found = part.members.get("")
    held = (
        {name: item for name, item in found.items() if isinstance(item, LegacyTensor)}
        if isinstance(found, dict)
        else {}
    )
    # Loaders take every tensor of a file, whatever the index says: one that it hides would be loaded by some.
    if held.keys() != set(names) or len(held) != len(found or ()):
        raise SourceError("holds other tensors than its index lists", where=part.path, code="source.shard")
    return held
