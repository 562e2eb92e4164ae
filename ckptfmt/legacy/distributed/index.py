"""The index of a folder of torch.distributed.checkpoint, `.metadata`: a pickle that is read and never unpickled.

An honest one names a dozen classes, all of them known; whatever else it names is refused, though nothing of it runs.
"""

from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import SourceError, UnsafeSource, printable
from ckptfmt.format.dtypes import by_torch
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.blocks import Block
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.pickle import pickles
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Index", "Slice", "Stored", "read_index"]

_DCP = "torch.distributed.checkpoint"
_METADATA, _FILES = f"{_DCP}.metadata", f"{_DCP}.filesystem"
# Where the properties of a tensor had their class until torch 2.3.
_BEFORE = "torch.distributed._shard.sharded_tensor.metadata"
_DTYPES = {f"torch.{name}": dtype for name, dtype in by_torch().items()}
_TORCH = ("torch.Size", "torch.strided", "torch.serialization._get_layout")
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
_CLASSES = (
    *("Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "MetadataIndex"),
    *("StorageMeta", "TensorProperties", "_MEM_FORMAT_ENCODING"),
)
HONEST = frozenset(
    {
        *(f"{_METADATA}.{name}" for name in _CLASSES),
        *(f"{_BEFORE}.{name}" for name in ("TensorProperties", "MEM_FORMAT_ENCODING")),
        f"{_FILES}._StorageInfo",
        *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
        "collections.OrderedDict",
        *_TORCH,
        *_DTYPES,
    }
)
# Sizes and places of torch are whole numbers of 64 bits, with a sign.
_MAX_LENGTH = 2**63 - 1


@record
class Stored:
    """A tensor as the index describes it: its dtype, its shape, and the shape of each part by where it begins."""

    dtype: str
    shape: tuple[int, ...]
    parts: Mapping[tuple[int, ...], tuple[int, ...]]


@record
class Slice:
    """Bytes of a file that are one part of a tensor, or all of what is no tensor (`at` is None)."""

    name: str
    at: tuple[int, ...] | None
    file: str
    offset: int
    length: int


@record
class Index:
    """What a folder holds: tensors, other values by name, slices, and the way to each value in the saved object."""

    tensors: Mapping[str, Stored]
    others: frozenset[str]
    slices: tuple[Slice, ...]
    paths: Mapping[str, tuple[str | int, ...]]
    protocol: int
    globals: tuple[str, ...]


def read_index(block: Block, budget: Budget) -> Index:
    """Return what `.metadata` says; raise `UnsafeSource` for a name that none has, `SourceError` for nonsense."""
    # Names that are refused elsewhere become placeholders, and all of them are held against the list of those known.
    pickle = pickles.load(block, allow_unsafe=True, budget=budget)
    if pickle.end != block.size:
        raise _wrong(f"has {block.size - pickle.end:,} bytes behind its end")
    if strangers := sorted(set(pickle.globals) - HONEST):
        shown = ", ".join(printable(name, 80) for name in strangers[:3])
        raise UnsafeSource(f"refused, its pickle names {shown}, which no {_DCP} writes; nothing was run")
    top = _fields(pickle.value, f"{_METADATA}.Metadata")
    tensors: dict[str, Stored] = {}
    others = set()
    for name, entry in _dict(top, "state_dict_metadata").items():
        if not isinstance(name, str):
            raise _wrong("names a tensor by something that is no text")
        if isinstance(entry, Opaque) and entry.name == f"{_METADATA}.BytesStorageMetadata":
            others.add(name)
        else:
            tensors[name] = _stored(entry)
    slices = tuple(_slice(key, info) for key, info in _dict(top, "storage_data").items())
    paths = _paths(top.get("planner_data"), tensors.keys() | others)
    return Index(tensors, frozenset(others), slices, paths, pickle.protocol, pickle.globals)


def _wrong(what: str) -> SourceError:
    return SourceError(what, fix="copy the folder again", code="source.damaged")


def _fields(value: Any, name: str) -> dict[str, Any]:
    """Return the fields of an instance of a class, as its pickle sets them."""
    if not isinstance(value, Opaque) or (value.kind, value.name) != ("instance", name):
        raise _wrong(f"holds something else where it should hold a {name.rpartition('.')[2]}")
    if not isinstance(value.state, dict) or value.items or value.pairs or value.args:
        raise _wrong(f"holds a {name.rpartition('.')[2]} without its fields")
    return value.state


def _dict(fields: Mapping[str, Any], name: str) -> dict[Any, Any]:
    if not isinstance(found := fields.get(name), dict):
        raise _wrong(f"has no dictionary {name}")
    return found


def _numbers(value: Any, what: str) -> tuple[int, ...]:
    if isinstance(value, tuple | list) and all(type(n) is int and 0 <= n <= _MAX_LENGTH for n in value):
        return tuple(value)
    raise _wrong(f"has {what} that are no whole numbers from 0 up")


def _stored(entry: Any) -> Stored:
    fields = _fields(entry, f"{_METADATA}.TensorStorageMetadata")
    shape = _numbers(fields.get("size"), "lengths")
    parts: dict[tuple[int, ...], tuple[int, ...]] = {}
    chunks = fields.get("chunks")
    for chunk in chunks if isinstance(chunks, list | tuple) else ():
        said = _fields(chunk, f"{_METADATA}.ChunkStorageMetadata")
        at, lengths = _numbers(said.get("offsets"), "offsets"), _numbers(said.get("sizes"), "lengths")
        # Where several processes have nothing of a tensor, all of their parts begin at its end.
        if parts.setdefault(at, lengths) != lengths and all(lengths):
            raise _wrong(f"lists two parts of one tensor that begin at {at}")
    return Stored(_dtype(fields.get("properties")), shape, parts)


def _dtype(properties: Any) -> str:
    if isinstance(properties, Opaque) and properties.name.endswith(".TensorProperties"):
        state = properties.state
        said = state[0] if isinstance(state, tuple) and state else None
        if isinstance(said, Opaque) and said.kind == "global" and said.name in _DTYPES:
            return _DTYPES[said.name]
    raise _wrong("holds a tensor without a dtype that is known here")


def _slice(key: Any, info: Any) -> Slice:
    place, stored = _fields(key, f"{_METADATA}.MetadataIndex"), _fields(info, f"{_FILES}._StorageInfo")
    name, file = place.get("fqn"), stored.get("relative_path")
    offset, length = stored.get("offset"), stored.get("length")
    at = place.get("offset")
    if not isinstance(name, str) or not isinstance(file, str):
        raise _wrong("lists a part without its name or its file")
    if type(offset) is not int or type(length) is not int or not 0 <= offset <= offset + length <= _MAX_LENGTH:
        raise _wrong(f"lists a part of {printable(name, 80)} without its place in the file")
    if through := stored.get("transform_descriptors"):
        kinds = ", ".join(printable(kind, 40) for kind in through) if isinstance(through, list | tuple) else "something"
        raise SourceError(
            f"was written through {kinds}, which is not read here",
            fix="save it without extensions",
            code="source.not-a-checkpoint",
        )
    return Slice(name, None if at is None else _numbers(at, "offsets"), file, offset, length)


def _paths(planned: Any, names: Any) -> dict[str, tuple[str | int, ...]]:
    """Return where each value lay in the object that was saved; by its own name where the index does not say."""
    found: dict[str, tuple[str | int, ...]] = {}
    for name in names:
        path = planned.get(name) if isinstance(planned, dict) else None
        if isinstance(path, tuple) and path and all(type(word) in (str, int) for word in path):
            found[name] = path
        else:
            found[name] = (name,)
    return found
