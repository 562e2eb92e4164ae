"""The names of files that hold a part of a checkpoint's file: `weights-00001-of-00004.safetensors` and its siblings."""

import re
from collections.abc import Iterable, Iterator, Mapping

from ckptfmt.format.files import SAFETENSORS, compressed_name
from ckptfmt.format.record import record

__all__ = [
    "MOST_SHARDS",
    "SHARD_PATTERN",
    "Shard",
    "is_data_file",
    "is_sharded",
    "parse_shard",
    "plain_name",
    "shard_name",
    "together",
    "unfit_names",
]

# Five digits, as the files of the Hugging Face hub have them.
MOST_SHARDS = 99_999
_STEMS = {name.removesuffix(".safetensors"): name for name in SAFETENSORS}
_FORM = rf"({'|'.join(_STEMS)})-([0-9]{{5}})-of-([0-9]{{5}})\.safetensors"
_SHARD = re.compile(_FORM)
# The number of a part begins at 1.
SHARD_PATTERN = f"^{_FORM}$".replace("([0-9]{5})", "(?!00000)([0-9]{5})")
_EXTENSION = compressed_name("")


@record
class Shard:
    """Part `number` (from 1) of the `count` parts of `file`, a name of `SAFETENSORS`."""

    file: str
    number: int
    count: int


def shard_name(file: str, number: int, count: int) -> str:
    """Return the name of part `number` (from 1) of `count` of a file of `SAFETENSORS`."""
    if not 1 <= number <= count <= MOST_SHARDS:
        raise ValueError(f"there is no part {number} of {count}")
    return f"{file.removesuffix('.safetensors')}-{number:05}-of-{count:05}.safetensors"


def parse_shard(name: str) -> Shard | None:
    """Return which part of which file a name stands for; None for one that is no such name."""
    found = _SHARD.fullmatch(name)
    if found is None:
        return None
    shard = Shard(_STEMS[found[1]], int(found[2]), int(found[3]))
    return shard if 1 <= shard.number <= shard.count else None


def plain_name(name: str) -> str | None:
    """Return the file of `SAFETENSORS` that a name is, or is a part of; None for a name that is neither."""
    if name in SAFETENSORS:
        return name
    shard = parse_shard(name)
    return shard.file if shard else None


def is_data_file(name: str) -> bool:
    """Return whether a data file of a checkpoint may be called so, whole or a part, plain or compressed."""
    return plain_name(name.removesuffix(_EXTENSION)) is not None


def together(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names by the file of `SAFETENSORS` that they make together, the parts of each in their order."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        if (plain := plain_name(name)) is not None:
            groups.setdefault(plain, []).append(name)
    return {name: groups[name] for name in SAFETENSORS if name in groups}


def unfit_names(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each file that lies whole and in parts, in parts of several counts, or lacks one."""
    for plain, group in together(names).items():
        shards = {name: shard for name in group if (shard := parse_shard(name))}
        counts = {shard.count for shard in shards.values()}
        if shards and len(shards) < len(group):
            yield f"hold {plain} whole and in parts"
        elif len(counts) > 1:
            yield f"hold {plain} in {' and in '.join(map(str, sorted(counts)))} parts"
        elif shards and len(shards) < (count := max(counts)):
            have = {shard.number for shard in shards.values()}
            lacking = next(number for number in range(1, count + 1) if number not in have)
            yield f"hold {len(shards)} of the {count} parts of {plain}, {shard_name(plain, lacking, count)} is missing"


def is_sharded(files: Mapping[str, object]) -> bool:
    """Return whether any of a manifest's files is a part of one."""
    return any(name not in SAFETENSORS for name in files)
