"""Folders with an index, `.metadata`: each part of a tensor is a file of torch inside of a larger file."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from ckptfmt.errors import SourceError, printable
from ckptfmt.legacy.bytes.blocks import Block, Window
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.containers.contents import read_contents
from ckptfmt.legacy.containers.reading import Reading, within
from ckptfmt.legacy.distributed.index import Index, Slice, read_index
from ckptfmt.legacy.distributed.joined import Part, join
from ckptfmt.legacy.distributed.kinds import INDEX, PART, UNFINISHED

__all__ = ["read_classic"]

_CONTAINERS = ("torch-zip", "torch-stream")
# Names that are listed in a sentence.
_NAMED = 3
# A safetensors file begins with the length of its header, which is JSON.
_HEADER = 8


def read_classic(names: Mapping[str, int], open_file: Callable[[str], Block], reading: Reading) -> Any:
    """Return the object that was saved, with whole tensors in it; `names` are the files there, with their sizes.

    Raises `SourceError` for an index and files that do not fit, and `UnsafeSource` for what attacks ask for.
    """
    if INDEX not in names:
        what, fix = f"has no {INDEX}, so its save was not finished", "give the folder of a finished save"
        raise SourceError(what, fix=fix, code="source.shard")
    if UNFINISHED in names:
        what = f"holds {UNFINISHED}, so the last save into it was not finished"
        raise SourceError(what, fix="give the folder of a finished save", code="source.stale")
    with within(INDEX):
        index = read_index(open_file(INDEX), reading.budget)
    reading.protocol = index.protocol
    reading.globals.update(dict.fromkeys(index.globals))
    _refuse_stale(names, index)
    values = {name: _value(reading, windows) for name, windows in _by_name(index, open_file).items()}
    whole: dict[str, Any] = {}
    for name, stored in index.tensors.items():
        parts = _parts(index, name, values.get(name, []))
        with within(printable(name, 80)):
            whole[name] = join(name, stored.shape, parts, reading.spool, reading.budget)
    whole |= {name: values[name][0][1] for name in index.others if name in values}
    return _nested(whole, index.paths)


def _refuse_stale(names: Mapping[str, int], index: Index) -> None:
    """Raise for files with bytes in them of which the index does not tell: a process with nothing to save has none."""
    listed = {item.file for item in index.slices}
    stale = sorted(name for name, size in names.items() if name.endswith(PART) and size and name not in listed)
    if stale:
        more = f" and {len(stale) - _NAMED:,} more" if len(stale) > _NAMED else ""
        raise SourceError(
            f"holds files of an earlier save, of which {INDEX} does not tell: {', '.join(stale[:_NAMED])}{more}",
            fix="move them out of the folder",
            code="source.stale",
        )


def _by_name(index: Index, open_file: Callable[[str], Block]) -> dict[str, list[tuple[Slice, Block]]]:
    """Return the bytes of each slice by the name of the value; raise where they are not all that the files hold."""
    known = index.tensors.keys() | index.others
    files: dict[str, list[Slice]] = {}
    for item in index.slices:
        if item.name not in known:
            raise _wrong(f"tells where {printable(item.name, 80)} lies, but not what it is")
        files.setdefault(item.file, []).append(item)
    found: dict[str, list[tuple[Slice, Block]]] = {}
    for file, slices in files.items():
        with within(printable(file, 80)):
            block = open_file(file)
            _refuse_safetensors(block)
            _check_filled(sorted(slices, key=attrgetter("offset")), block.size)
        for item in slices:
            found.setdefault(item.name, []).append((item, Window(block, item.offset, item.length)))
    return found


def _refuse_safetensors(block: Block) -> None:
    """Raise for what the writer makes with `SerializationFormat.SAFETENSORS`, and its own reader does not read."""
    if block.size > _HEADER and block.read(_HEADER, 1) == b"{":
        what, fix = "is safetensors, beside an index of torch's own files", "save it with HuggingFaceStorageWriter"
        raise SourceError(what, fix=fix, code="source.not-a-checkpoint")


def _check_filled(slices: Sequence[Slice], size: int) -> None:
    end = 0
    for item in slices:
        if item.offset != end:
            how = "overlaps the one before it" if item.offset < end else f"leaves {item.offset - end:,} bytes before it"
            raise SourceError(
                f"the part of {printable(item.name, 80)} at byte {item.offset:,} {how}",
                fix="copy the folder again",
                code="source.shard",
            )
        end = item.offset + item.length
    if end != size:
        what = f"has {size:,} bytes where {INDEX} tells of {end:,}"
        raise SourceError(what, fix="copy the folder again", code="source.truncated")


def _value(reading: Reading, windows: Sequence[tuple[Slice, Block]]) -> list[tuple[Slice, Any]]:
    found = []
    for item, window in windows:
        with within(f"{printable(item.file, 80)}: {printable(item.name, 80)}"):
            container, members = read_contents(window, reading)
            if container not in _CONTAINERS:
                what = f"is {container} where torch's files lie"
                raise SourceError(what, fix="save it with torch's own format", code="source.not-a-checkpoint")
        found.append((item, members[""]))
    return found


def _parts(index: Index, name: str, values: Sequence[tuple[Slice, Any]]) -> list[Part]:
    """Return the parts of a tensor, each of the shape and dtype that the index says."""
    stored, parts = index.tensors[name], []
    where = printable(name, 80)
    missing = dict(stored.parts)
    for item, value in values:
        at = item.at if item.at is not None else (0,) * len(stored.shape)
        shape = missing.pop(at, None)
        if not isinstance(value, LegacyTensor) or shape is None:
            raise _wrong(f"lists a part of {where} at {at} in {printable(item.file, 80)} that it does not describe")
        if (value.shape, value.dtype) != (shape, stored.dtype):
            said, held = f"{stored.dtype} {list(shape)}", f"{value.dtype} {list(value.shape)}"
            raise _wrong(f"says that the part of {where} in {printable(item.file, 80)} is {said}, it is {held}")
        parts.append(Part(at, value, item.file))
    if any(all(shape) for shape in missing.values()):
        raise _wrong(f"does not tell where the part of {where} at {min(missing)} lies")
    return parts


def _wrong(what: str) -> SourceError:
    return SourceError(what, where=INDEX, fix="copy the folder again", code="source.shard")


def _nested(values: Mapping[str, Any], paths: Mapping[str, tuple[str | int, ...]]) -> Any:
    """Return the values in the nest in which they were saved; raise where two would have the same place."""
    root = _Nest()
    for name, value in values.items():
        *way, last = paths[name]
        place: Any = root
        for word in way:
            place = place.setdefault(word, _Nest()) if isinstance(place, _Nest) else None
        if not isinstance(place, _Nest) or last in place:
            raise _wrong(f"puts {printable(name, 80)} where another value is")
        place[last] = value
    return {word: _listed(value) for word, value in root.items()}


class _Nest(dict[Any, Any]):
    """A part of the nest that is made here; a dict that was saved as one value is none."""


def _listed(value: Any) -> Any:
    """Return a nest as dicts, and as lists where its places are numbered from 0."""
    if not isinstance(value, _Nest):
        return value
    inner = {word: _listed(item) for word, item in value.items()}
    if all(type(word) is int for word in inner) and sorted(inner) == list(range(len(inner))):
        return [inner[i] for i in range(len(inner))]
    return inner
