"""Folders of safetensors shards (`HuggingFaceStorageWriter`): each says in its header where its parts begin.

No file says how many shards there are or how long a tensor is: a tensor ends where the last of its parts does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ckptfmt.errors import Problem, SourceError, printable
from ckptfmt.format import jsontext
from ckptfmt.legacy.bytes.blocks import Block
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.containers.contents import read_contents
from ckptfmt.legacy.containers.reading import Reading, within
from ckptfmt.legacy.distributed.joined import Overlap, Part, join
from ckptfmt.legacy.distributed.kinds import shard_number

__all__ = ["SHARDING", "check_whole", "read_shards"]

SHARDING = "DCP_SHARDING_INFO"
# It takes some sixty bytes for a tensor: this is room for a quarter of a million of them.
_MAX_SHARDING = 16 << 20


def read_shards(names: Mapping[str, int], open_file: Callable[[str], Block], reading: Reading) -> dict[str, Any]:
    """Return the whole tensors by name; `names` are the files there. Raises `SourceError` for shards that do not fit.

    That a shard is missing cannot always be seen, which is warned of.
    """
    parts: dict[str, list[Part]] = {}
    for file in sorted((name for name in names if shard_number(name)), key=lambda name: (shard_number(name), name)):
        with within(printable(file, 80)):
            for name, part in _read(file, open_file(file), reading):
                parts.setdefault(name, []).append(part)
    whole = {}
    stale: dict[str, str] = {}
    for name, found in parts.items():
        try:
            whole[name] = join(name, _shape(name, found), found, reading.spool, reading.budget)
        except Overlap as e:
            for pair in e.pairs:
                first, second = sorted(pair, key=shard_number)
                stale[second] = first
    if stale:
        raise _of_two_saves(stale)
    numbers = {shard_number(name) for name in names} - {0}
    reading.warnings.append(_open_ended(sorted(numbers)))
    return whole


def check_whole(members: Mapping[str, Any], path: str) -> tuple[Problem, ...]:
    """Return a warning for a safetensors file of its own that a process wrote, raise for one with parts of tensors."""
    said = members.get("__metadata__", {})
    if not isinstance(said, Mapping) or SHARDING not in said:
        return ()
    with within(path):
        if any(any(at) for at in _places(said[SHARDING], members[""]).values()):
            what, fix = (
                "holds parts of tensors, and other files the rest",
                "give the folder it was saved in",
            )
            raise SourceError(what, fix=fix, code="source.shard")
    return (_open_ended([1]),)


def _open_ended(numbers: Sequence[int]) -> Problem:
    """Return the warning that shards may be missing; a process that had nothing to save has written none."""
    gap = next((n for n in range(1, numbers[-1]) if n not in set(numbers)), None)
    without = f", none of the number {gap}," if gap else ""
    message = f"has {len(numbers):,} shard{'s' * (len(numbers) > 1)}{without} and none says how many there are"
    fix = "make sure that none is missing"
    return Problem("source.open-ended", "", message, fix, "warning")


def _read(file: str, block: Block, reading: Reading) -> list[tuple[str, Part]]:
    container, members = read_contents(block, reading)
    if container != "safetensors":
        raise SourceError(f"is {container}, not safetensors", fix="copy the folder again", code="source.shard")
    tensors: dict[str, LegacyTensor] = members[""]
    said = members.get("__metadata__", {}).get(SHARDING)
    if said is None:
        raise SourceError(f"has no {SHARDING} in its header", fix="copy the folder again", code="source.shard")
    places = _places(said, tensors)
    return [(name, Part(places[name], tensor, file)) for name, tensor in tensors.items()]


def _places(said: str, tensors: Mapping[str, LegacyTensor]) -> dict[str, tuple[int, ...]]:
    """Return where each part begins in its tensor, as the header of a shard says."""
    places = jsontext.parse(said.encode(), where=SHARDING, limit=_MAX_SHARDING, error=SourceError, code="source.shard")
    if not isinstance(places, dict) or places.keys() != tensors.keys():
        raise SourceError(f"has other tensors than its {SHARDING} lists", fix="copy it again", code="source.shard")
    return {name: _begin(name, place) for name, place in places.items()}


def _begin(name: str, said: Any) -> tuple[int, ...]:
    at = said.get("saved_offsets") if isinstance(said, dict) else None
    # Doubles count no further, and other readers of JSON have nothing else.
    if not isinstance(at, list) or not all(type(n) is int and 0 <= n < 2**53 for n in at):
        what = f"does not say where its part of {printable(name, 80)} begins"
        raise SourceError(what, fix="copy it again", code="source.shard")
    return tuple(at)


def _shape(name: str, parts: list[Part]) -> tuple[int, ...]:
    if len({len(part.at) for part in parts} | {len(part.shape) for part in parts}) != 1:
        what = f"{printable(name, 80)} has parts of different numbers of dimensions"
        raise SourceError(what, fix="copy the folder again", code="source.shard")
    ends = [[a + n for a, n in zip(part.at, part.shape, strict=True)] for part in parts]
    return tuple(map(max, zip(*ends, strict=True)))


def _of_two_saves(stale: Mapping[str, str]) -> SourceError:
    names = sorted(stale)
    second, first = names[0], stale[names[0]]
    if shard_number(first) == shard_number(second):
        what = f"holds shards of two saves: {first} and {second} hold the same elements"
        return SourceError(what, fix="move those of the earlier save out of the folder", code="source.stale")
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    return SourceError(
        f"holds shards of an earlier save by more processes, whose elements others hold too: {listed}",
        fix="move them out of the folder",
        code="source.stale",
    )
