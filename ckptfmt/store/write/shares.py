"""Which of several processes writes what: each tensor, or slice of one, goes into one file, whoever holds it.

What is whole is written by the first rank that has it. Slices that several ranks hold alike, as in hybrid sharding, go
to the one that has the least to write so far.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ckptfmt.format.files import SAFETENSORS
from ckptfmt.format.record import record
from ckptfmt.format.shards import shard_name
from ckptfmt.store.write.tensorfile import TensorFile

__all__ = ["Share", "announce", "share_out"]

# Name and place of a stored tensor: its file, its name, and where it begins in the whole; None for all of it.
_Key = tuple[str, str, tuple[int, ...] | None]


@record
class Share:
    """What one rank writes: files by the name that each gets; `total` bytes and `count` tensors are of all ranks."""

    files: Mapping[str, TensorFile]
    total: int
    count: int


def announce(files: Mapping[str, TensorFile]) -> list[Any]:
    """Return what the others must know of what this rank holds, as plain JSON."""
    return [
        [file, [[info.name, _at(content, info.name), info.nbytes] for info in content.arranged()[1]]]
        for file, content in files.items()
    ]


def share_out(files: Mapping[str, TensorFile], told: Sequence[list[Any]], rank: int) -> Share:
    """Return what this rank writes of `files`, once all ranks have told what they hold; all come to the same."""
    held: dict[_Key, list[int]] = {}
    sizes: dict[_Key, int] = {}
    for number, answer in enumerate(told):
        for file, rows in answer:
            for name, at, size in rows:
                key = (file, name, None if at is None else tuple(at))
                held.setdefault(key, []).append(number)
                sizes[key] = size
    owners = _owners(held, sizes, len(told))
    given = {file for answer in told for file, _ in answer}
    named: dict[str, TensorFile] = {}
    for file in (name for name in SAFETENSORS if name in given):
        writers = sorted({owner for key, owner in owners.items() if key[0] == file}) or [0]
        if rank in writers:
            own = {name for (place, name, _), owner in owners.items() if place == file and owner == rank}
            called = file if len(writers) == 1 else shard_name(file, writers.index(rank) + 1, len(writers))
            named[called] = _kept(files.get(file, TensorFile({})), own)
    return Share(named, sum(sizes.values()), len(sizes))


def _owners(held: Mapping[_Key, list[int]], sizes: Mapping[_Key, int], ranks: int) -> dict[_Key, int]:
    owners, loads = {}, [0] * ranks
    for key in sorted(held, key=lambda key: (key[2] is not None, -sizes[key], key[0], key[1], key[2] or ())):
        holders = held[key]
        owners[key] = holders[0] if key[2] is None else min(holders, key=lambda number: (loads[number], number))
        loads[owners[key]] += sizes[key]
    return owners


def _at(content: TensorFile, name: str) -> list[int] | None:
    return list(content.slices[name].at) if name in content.slices else None


def _kept(content: TensorFile, names: set[str]) -> TensorFile:
    """Return a file with the named tensors of another one."""
    return TensorFile(
        {name: tensor for name, tensor in content.tensors.items() if name in names},
        {name: kept for name, kept in content.tied.items() if kept in names},
        content.compression,
        {name: part for name, part in content.slices.items() if name in names},
    )
