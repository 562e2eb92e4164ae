"""A folder that `torch.distributed.checkpoint.load` reads, written without torch.

Each tensor is a file of torch of its own within one larger file, and `.metadata`, a pickle of plain descriptions, says
where each begins and ends. It is written as a save by one process would be; the reader gives each rank its part.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

from ckptfmt.format.dtypes import by_torch
from ckptfmt.format.record import record
from ckptfmt.share.export.newfolder import write_new_folder
from ckptfmt.share.export.opcodes import Call, Instance, Name, pickled
from ckptfmt.share.export.target import Outline, left_out, stored_tensors
from ckptfmt.share.export.torchfile import StoredTensor, torch_bytes
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Slice", "dcp_outline", "index_bytes", "write_dcp_folder"]

_INDEX, _DATA = ".metadata", "__0_0.distcp"
_METADATA = "torch.distributed.checkpoint.metadata"
_DTYPES = {dtype: name for name, dtype in by_torch().items()}


@record
class Slice:
    """A part of a tensor: where it begins in it, its lengths, and its bytes in a file of the folder."""

    at: tuple[int, ...]
    lengths: tuple[int, ...]
    file: str
    offset: int
    length: int


def dcp_outline(checkpoint: Checkpoint, dest: str) -> Outline:
    """Return what the folder will be."""
    architecture = checkpoint.manifest.architecture
    network = architecture.title if architecture else "a network of unknown architecture"
    what = f"a folder of torch.distributed.checkpoint: {network}, {len(checkpoint.names())} tensors"
    loads = f'torch.distributed.checkpoint.load(model.state_dict(), checkpoint_id="{dest}")'
    return Outline(what, loads, _no_file, ("config", *left_out(checkpoint)))


def _no_file(_: BinaryIO) -> None:
    """Write nothing: a folder is written by `write_dcp_folder`."""


def write_dcp_folder(
    checkpoint: Checkpoint, dest: str, *, overwrite: bool, check: Callable[[str], str]
) -> tuple[int, str]:
    """Write the folder whole or not at all; return its bytes, and what `check` said of it before it got its name.

    Raises `ConversionError` for a dtype that torch's files have no storage for, before anything is written, and
    `TargetExists` as `write_new_folder` does.
    """
    tensors = stored_tensors(checkpoint, str)
    for tensor in tensors.values():
        torch_bytes(StoredTensor(tensor.dtype, (0,), bytes))
    with write_new_folder(dest, _is_own, overwrite=overwrite) as folder:
        os.mkdir(folder)
        _write(folder, tensors)
        checked = check(folder)
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
    return size, checked


def _is_own(name: str) -> bool:
    return name in (_INDEX, _DATA)


def _write(folder: str, tensors: Mapping[str, StoredTensor]) -> None:
    """Write the tensors, one of them in memory at a time, and the index."""
    parts: dict[str, tuple[str, tuple[int, ...], list[Slice]]] = {}
    with open(os.path.join(folder, _DATA), "xb") as file:
        for name, tensor in tensors.items():
            begin = file.tell()
            file.write(torch_bytes(tensor))
            whole = Slice((0,) * len(tensor.shape), tensor.shape, _DATA, begin, file.tell() - begin)
            parts[name] = tensor.dtype, tensor.shape, [whole]
        _sync(file)
    with open(os.path.join(folder, _INDEX), "xb") as file:
        file.write(index_bytes(parts))
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def index_bytes(tensors: Mapping[str, tuple[str, tuple[int, ...], Iterable[Slice]]]) -> bytes:
    """Return the index of a folder: for each tensor its dtype (a safetensors name), its shape and its parts."""
    described, places = {}, {}
    for name, (dtype, shape, parts) in tensors.items():
        described[name] = _tensor(dtype, shape, parts)
        for number, part in enumerate(parts):
            place = {"fqn": name, "offset": _size(part.at), "index": number}
            stored = {"relative_path": part.file, "offset": part.offset, "length": part.length}
            info = Name("torch.distributed.checkpoint.filesystem", "_StorageInfo")
            places[_of("MetadataIndex", place)] = Instance(info, stored)
    return pickled(
        _of(
            "Metadata",
            {
                "state_dict_metadata": described,
                "planner_data": {name: (name,) for name in tensors},
                "storage_data": places,
                "storage_meta": None,
                "version": "1.0.0",
            },
        )
    )


def _of(kind: str, state: Any) -> Instance:
    return Instance(Name(_METADATA, kind), state)


def _size(lengths: tuple[int, ...]) -> Call:
    return Call(Name("torch", "Size"), (lengths,))


def _tensor(dtype: str, shape: tuple[int, ...], parts: Iterable[Slice]) -> Instance:
    layout = Call(Name("torch.serialization", "_get_layout"), ("torch.strided",))
    # The memory format is the first of its enumeration: contiguous.
    form = Call(Name(_METADATA, "_MEM_FORMAT_ENCODING"), (0,))
    properties = (Name("torch", _DTYPES[dtype]), layout, False, form, False)
    chunks = [_of("ChunkStorageMetadata", {"offsets": _size(p.at), "sizes": _size(p.lengths)}) for p in parts]
    return _of(
        "TensorStorageMetadata",
        {"properties": _of("TensorProperties", properties), "size": _size(shape), "chunks": chunks},
    )
