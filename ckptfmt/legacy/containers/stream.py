"""The stream that `torch.save` wrote before version 1.6: five pickles, then the raw storages.

Magic number, protocol version, facts of the machine, the object, the keys of its storages; then for each key a
count of 8 bytes and the elements. Both are little-endian on every machine, whatever the facts say: torch turned
them while writing.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from ckptfmt.errors import SourceError, printable
from ckptfmt.legacy.bytes.blocks import Block, Window
from ckptfmt.legacy.bytes.storages import Storage, StorageId, item_size, storage_id
from ckptfmt.legacy.containers.reading import Reading

__all__ = ["MAGIC_NUMBER", "read_object", "read_raw", "read_storage"]

# torch.serialization: MAGIC_NUMBER and PROTOCOL_VERSION.
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class _Pending:
    """A block whose size the pickle states and whose bytes come behind it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._block: Block | None = None

    def fill(self, block: Block) -> None:
        self._block = block

    def read(self, offset: int, size: int) -> bytes:
        if self._block is None:
            _refuse("its pickle needs a storage before the storages begin")
        return self._block.read(offset, size)


class _Storages:
    """What a stream's pickle refers to, by key; each key is one storage, however often it comes."""

    def __init__(self) -> None:
        self._stated: dict[str, StorageId] = {}
        self._views: dict[str, StorageId] = {}
        self._blocks: dict[str, _Pending] = {}
        self._made: dict[str, Storage] = {}

    def persistent(self, pid: Any) -> Any:
        """Return what a persistent id stands for: a storage, or the inert class of a "module" id.

        The source text that such an id carries is neither compared nor written anywhere.
        """
        match pid:
            case ("module", module, *_):
                return module
        stated = storage_id(pid)
        whole = StorageId(stated.key, stated.dtype, stated.device, stated.numel)
        if (known := self._stated.setdefault(stated.key, whole)) != whole:
            _contradiction(known.key)
        if stated.key not in self._blocks:
            self._blocks[stated.key] = _Pending(whole.nbytes)
        return self._root(whole) if stated.view is None else self._view(stated, stated.view)

    def _root(self, stated: StorageId) -> Storage:
        if stated.key not in self._made:
            data = self._blocks[stated.key]
            self._made[stated.key] = Storage(stated.key, stated.dtype, data, device=stated.device)
        return self._made[stated.key]

    def _view(self, stated: StorageId, view: tuple[str, int, int]) -> Storage:
        key, offset, numel = view
        if self._views.setdefault(key, stated) != stated or key in self._stated:
            _contradiction(key)
        if f"view {key}" not in self._made:
            width = item_size(stated.dtype)
            data = Window(self._blocks[stated.key], offset * width, numel * width)
            self._made[f"view {key}"] = Storage(key, stated.dtype, data, device=stated.device)
        return self._made[f"view {key}"]

    def fill(self, block: Block, at: int, keys: Any) -> None:
        """Give each storage its bytes; they follow each other from `at` to the end, in the order of `keys`."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            _refuse("its list of storages is not a list of keys")
        if len(set(keys)) != len(keys) or set(keys) != set(self._stated) or set(self._views) & set(keys):
            _refuse("its list of storages is not that of the storages its pickle refers to")
        for key in keys:
            data, at = read_raw(block, at, item_size(self._stated[key].dtype))
            if data.size != self._blocks[key].size:
                _refuse(f"its storage {printable(key)} has {data.size:,} bytes, not {self._blocks[key].size:,}")
            self._blocks[key].fill(data)
        if at != block.size:
            _refuse(f"has {block.size - at:,} bytes behind its last storage", "source.ambiguous")


def read_object(block: Block, start: int, reading: Reading) -> Any:
    """Return the object of a stream whose magic number ends at `start`; raise `SourceError`."""
    version = reading.load(block, start)
    if version.value != _PROTOCOL:
        _refuse(f"is a torch stream of the unknown protocol {printable(version.value, 40)}")
    facts = reading.load(block, version.end)
    if not isinstance(facts.value, Mapping):
        _refuse("is a torch stream without the facts of its machine")
    storages = _Storages()
    found = reading.load(block, facts.end, storages.persistent)
    protocol = reading.protocol
    keys = reading.load(block, found.end)
    storages.fill(block, keys.end, keys.value)
    reading.protocol = protocol
    return found.value


def read_storage(block: Block, reading: Reading) -> Storage:
    """Return the storage of a stream that lies in a pickle of other objects, as `pickle.dump` writes tensors."""
    magic = reading.load(block)
    if magic.value != MAGIC_NUMBER:
        _refuse("its pickle holds a storage that is no torch stream")
    found = read_object(block, magic.end, reading)
    if not isinstance(found, Storage):
        _refuse("its pickle holds an object in the place of a storage")
    return found


def read_raw(block: Block, at: int, width: int) -> tuple[Window, int]:
    """Return the storage at `at`, a count of 8 bytes and that many elements, and where it ends."""
    count = int.from_bytes(block.read(at, 8), "little", signed=True)
    if count < 0 or at + 8 + count * width > block.size:
        raise SourceError(
            f"ends before its storages do: {count:,} elements should follow byte {at + 8:,}",
            fix="the file is cut short: copy or download it again",
            code="source.truncated",
        )
    data = Window(block, at + 8, count * width)
    return data, at + 8 + data.size


def _contradiction(key: str) -> NoReturn:
    _refuse(f"refers to the storage {printable(key)} in ways that contradict each other")


def _refuse(what: str, code: str = "source.damaged") -> NoReturn:
    raise SourceError(what, fix="copy it again or re-save it", code=code)
