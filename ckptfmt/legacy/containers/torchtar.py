"""The tar archive that torch wrote before 0.1.10: storages, tensors, and a pickle that names tensors by number.

Each of the three members is a row of pickles with raw numbers between them; they are read where they lie.
"""

import struct
from collections.abc import Sequence
from typing import Any, NoReturn

from ckptfmt.errors import SourceError, printable
from ckptfmt.legacy.bytes.blocks import Block, Window
from ckptfmt.legacy.bytes.storages import STORAGE_DTYPES, LegacyTensor, Storage, item_size
from ckptfmt.legacy.containers.reading import Reading, within
from ckptfmt.legacy.containers.stream import read_raw
from ckptfmt.legacy.containers.tar import Member
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["is_torch_tar", "read_object"]

_NAMES = {"storages", "tensors", "pickle"}
# As in streams.
_MAX_OBJECTS = 1 << 16
_MAX_RANK = 64


def _refuse(what: str, code: str = "source.damaged") -> NoReturn:
    raise SourceError(what, fix="copy it again or re-save it", code=code)


def is_torch_tar(members: Sequence[Member]) -> bool:
    """Return whether the members are those that torch wrote."""
    return {member.name for member in members} >= _NAMES


def read_object(members: Sequence[Member], reading: Reading) -> Any:
    """Return the object of a torch tar; raise `SourceError`."""
    blocks = {member.name: member.block for member in members}
    if extra := sorted(set(blocks) - _NAMES - {"sys_info"}):
        _refuse(f"has the member {printable(extra[0])}, which torch did not write", "source.ambiguous")
    if "sys_info" in blocks:
        with within("sys_info"):
            reading.load(blocks["sys_info"], whole=True)
    with within("storages"):
        found: dict[int, Any] = dict(_storages(blocks["storages"], reading))
    with within("tensors"):
        found.update(_tensors(blocks["tensors"], found, reading))
    with within("pickle"):
        return reading.load(blocks["pickle"], 0, lambda pid: _persistent(pid, found), whole=True).value


def _persistent(pid: Any, found: dict[int, Any]) -> Any:
    """Return the tensor or storage with a number, or the inert class that a "module" id carries."""
    if isinstance(pid, tuple) and pid:
        return pid[0]
    # 2^64 has twenty digits.
    number = int(pid) if isinstance(pid, str) and pid.isascii() and pid.isdigit() and len(pid) < 20 else pid
    if type(number) is not int or number not in found:
        _refuse("its pickle refers to a tensor that it does not hold")
    return found[number]


def _storages(block: Block, reading: Reading) -> dict[int, Storage]:
    found: dict[int, Storage] = {}
    count, at = _count(block, 0, reading)
    for _ in range(count):
        head = reading.load(block, at)
        key, location, dtype = _storage_head(head.value)
        data, at = read_raw(block, head.end, item_size(dtype))
        _add(found, key, Storage(str(key), dtype, data, device=location))
    views = reading.load(block, at, whole=True).value
    for view in views if isinstance(views, list) else _refuse("its list of views is not a list"):
        _add(found, *_view(view, found))
    return found


def _storage_head(value: Any) -> tuple[int, str, str | None]:
    match value:
        case (int(key), str(location), Opaque(kind="global", name=name)) if name in STORAGE_DTYPES:
            return key, location, STORAGE_DTYPES[name]
    _refuse("describes a storage in a way that torch does not")


def _view(value: Any, found: dict[int, Storage]) -> tuple[int, Storage]:
    match value:
        case (int(key), int(root), int(offset), int(numel)) if root in found and offset >= 0 and numel >= 0:
            whole = found[root]
            if whole.data is not None:
                width = item_size(whole.dtype)
                data = Window(whole.data, offset * width, numel * width)
                return key, Storage(str(key), whole.dtype, data, device=whole.device)
    _refuse("describes a part of a storage in a way that torch does not")


def _tensors(block: Block, storages: dict[int, Any], reading: Reading) -> dict[int, LegacyTensor]:
    found: dict[int, LegacyTensor] = {}
    count, at = _count(block, 0, reading)
    for _ in range(count):
        head = reading.load(block, at)
        match head.value:
            case (int(key), int(storage), _) if key not in storages and storage in storages:
                tensor, at = _tensor(block, head.end, storages[storage])
                _add(found, key, tensor)
            case _:
                _refuse("describes a tensor in a way that torch does not")
    if at != block.size:
        _refuse(f"has {block.size - at:,} bytes behind its last tensor", "source.ambiguous")
    return found


def _tensor(block: Block, at: int, storage: Storage) -> tuple[LegacyTensor, int]:
    """Return the tensor whose rank, lengths, strides and offset lie at `at`, and where they end."""
    rank = struct.unpack("<i", block.read(at, 4))[0]
    if not 0 <= rank <= _MAX_RANK or storage.dtype is None:
        _refuse(f"has a tensor of {rank} dimensions")
    # Lengths, strides and an offset, behind the rank and four bytes that fill it up to eight.
    numbers = struct.unpack(f"<{2 * rank + 1}q", block.read(at + 8, 8 * (2 * rank + 1)))
    tensor = LegacyTensor(storage.dtype, numbers[:rank], numbers[rank : 2 * rank], numbers[-1], storage)
    return tensor, at + 8 + 8 * len(numbers)


def _count(block: Block, at: int, reading: Reading) -> tuple[int, int]:
    pickle = reading.load(block, at)
    if type(pickle.value) is not int or not 0 <= pickle.value <= _MAX_OBJECTS:
        _refuse(f"says that it holds {printable(pickle.value, 40)} objects")
    return pickle.value, pickle.end


def _add(found: dict[int, Any], key: int, value: Any) -> None:
    if type(key) is not int or key in found:
        _refuse(f"describes the number {printable(key, 40)} twice")
    found[key] = value
