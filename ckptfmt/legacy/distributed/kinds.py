"""Which folders are those of torch.distributed.checkpoint, told by the names in them, and which file is part of one."""

import os
import re
from typing import Literal

from ckptfmt.errors import SourceError

__all__ = [
    "INDEX",
    "PART",
    "UNFINISHED",
    "Kind",
    "files_of",
    "is_distributed",
    "is_of_folder",
    "kind_of",
    "refuse_part",
    "shard_number",
]

INDEX, PART = ".metadata", ".distcp"
# The index is written under this name and renamed as the last step of a save.
UNFINISHED = ".metadata.tmp"
# What `HuggingFaceStorageWriter` calls the files of one process.
_SHARD = re.compile(r"shard-([0-9]{5,})-model-[0-9]{5,}-of-[0-9]{5,}\.safetensors")

# With an index of what lies where, or with that written in each shard.
Kind = Literal["classic", "shards"]


def kind_of(folder: str) -> Kind | None:
    """Return how torch.distributed.checkpoint wrote a folder, None where it did not."""
    try:
        names = os.listdir(folder)
    except (OSError, ValueError):
        return None
    if INDEX in names:
        return "classic"
    if any(name.endswith(PART) for name in names):
        return "classic"
    return "shards" if any(map(shard_number, names)) else None


def is_distributed(folder: str) -> bool:
    """Return whether a folder is one that torch.distributed.checkpoint writes."""
    return kind_of(folder) is not None


def files_of(folder: str) -> list[str]:
    """Return the names of the files that belong to such a folder, also of processes that had nothing to save."""
    names = sorted(os.listdir(folder))
    if kind_of(folder) == "shards":
        return [name for name in names if shard_number(name)]
    return [name for name in names if name == INDEX or name.endswith(PART)]


def is_of_folder(name: str) -> bool:
    """Return whether a file is called as one of such a folder."""
    return name == INDEX or name.endswith(PART) or shard_number(name) > 0


def shard_number(name: str) -> int:
    """Return which process wrote a shard, counted from 1; 0 for what is not named as one."""
    found = _SHARD.fullmatch(name)
    return int(found[1]) if found else 0


def refuse_part(path: str) -> None:
    """Raise `SourceError` for a file of such a folder: by itself it holds parts of tensors."""
    name = os.path.basename(path)
    if not is_of_folder(name):
        return
    folder = os.path.dirname(path) or "."
    if os.path.isfile(path) and is_distributed(folder):
        raise SourceError(
            "is part of a folder of torch.distributed.checkpoint, whose tensors lie in parts",
            where=path,
            fix=f"give the folder: {folder}",
            code="source.shard",
        )
