"""Torch's zip archives (`torch.save` since 1.6, TorchScript), and zips that hold several of them.

name/data.pkl       the object; its storages are named by key
name/data/<key>     the elements of a storage
name/byteorder      "little" or "big", since 2.1
name/constants.pkl, name/code/    TorchScript: never read, never run
"""

from typing import Any, NoReturn

from ckptfmt.errors import SourceError, printable
from ckptfmt.legacy.bytes.blocks import Block
from ckptfmt.legacy.bytes.storages import Storage, StorageId, storage_id
from ckptfmt.legacy.containers import stream, zip
from ckptfmt.legacy.containers.reading import Reading, within
from ckptfmt.legacy.containers.unsupported import refusal
from ckptfmt.legacy.containers.zip import Archive

__all__ = ["constants", "find_root", "is_stable_baselines", "is_torchscript", "read_object", "read_stable_baselines"]

_PICKLE = "data.pkl"
_POLICY = "policy.pth"


def find_root(archive: Archive) -> str:
    """Return the folder, with its slash, that holds the one `data.pkl` of an archive, or "" if there is none.

    Raises `SourceError` where readers could take different records for the object.
    """
    pickles = [name for name in archive.entries if name.rpartition("/")[2].lower() == _PICKLE]
    if not pickles:
        return ""
    if len(pickles) > 1:
        _ambiguous(f"has {len(pickles)} records named {_PICKLE}")
    root = pickles[0].removesuffix(_PICKLE)
    if not root or root.count("/") != 1 or not all(name.startswith(root) for name in archive.entries):
        _ambiguous(f"has records outside of one folder with {_PICKLE} in it")
    return root


def is_torchscript(archive: Archive, root: str) -> bool:
    """Return whether the archive was written by TorchScript."""
    return f"{root}constants.pkl" in archive.entries or any(n.startswith(f"{root}code/") for n in archive.entries)


def constants(archive: Archive, root: str) -> int:
    """Return how many tensors of a TorchScript program have no name, only a number, as freezing leaves them."""
    return sum(name.startswith(f"{root}constants/") for name in archive.entries)


def is_stable_baselines(archive: Archive) -> bool:
    """Return whether the archive is a Stable-Baselines3 model: JSON in `data`, networks in `*.pth` beside it."""
    return "data" in archive.entries and any(_is_network(name) for name in archive.entries)


def read_object(archive: Archive, root: str, reading: Reading) -> Any:
    """Return the object that `root` holds; raise `SourceError`."""
    storages = _Storages(archive, root, reading)
    with within(_PICKLE):
        return reading.load(reading.open(archive, root + _PICKLE), 0, storages.persistent, whole=True).value


def read_stable_baselines(archive: Archive, reading: Reading) -> dict[str, Any]:
    """Return the object of each `*.pth` record by the record's name, the policy first.

    The record `data` is JSON that quotes pickles of cloudpickle: it is kept as text, the pickles are never opened.
    Raises `SourceError`.
    """
    with within("data"):
        reading.declare("data", reading.open(archive, "data"))
    names = sorted(filter(_is_network, archive.entries), key=lambda name: (name != _POLICY, name))
    members = {}
    for name in reversed(names):
        with within(name):
            members[name] = _read_nested(reading.open(archive, name), reading)
    return {name: members[name] for name in names}


def _is_network(name: str) -> bool:
    return name.endswith(".pth") and "/" not in name


def _read_nested(block: Block, reading: Reading) -> Any:
    if not block.read(0, min(4, block.size)).startswith(zip.MAGIC):
        magic = reading.load(block)
        if magic.value != stream.MAGIC_NUMBER:
            raise refusal("is not a file of torch")
        return stream.read_object(block, magic.end, reading)
    archive = zip.read_archive(block)
    root = find_root(archive)
    if not root or is_torchscript(archive, root):
        raise refusal("is not a file of torch.save")
    return read_object(archive, root, reading)


class _Storages:
    """The storages of an archive by key; each key is one storage, however often it comes."""

    def __init__(self, archive: Archive, root: str, reading: Reading) -> None:
        self._archive = archive
        self._root = root
        self._reading = reading
        self._big_endian = _big_endian(archive, root, reading)
        self._made: dict[str, tuple[StorageId, Storage]] = {}

    def persistent(self, pid: Any) -> Storage:
        """Return the storage that a persistent id names."""
        stated = storage_id(pid)
        if stated.view is not None:
            _ambiguous("refers to a part of a storage, which an archive does not do")
        if stated.key not in self._made:
            self._made[stated.key] = (stated, self._make(stated))
        known, storage = self._made[stated.key]
        if known != stated:
            _ambiguous(f"refers to the storage {printable(stated.key)} in ways that contradict each other")
        return storage

    def _make(self, stated: StorageId) -> Storage:
        data = self._reading.open(self._archive, f"{self._root}data/{stated.key}")
        if data.size != stated.nbytes:
            raise SourceError(
                f"its storage {printable(stated.key)} has {data.size:,} bytes, its pickle says {stated.nbytes:,}",
                fix="copy it again or re-save it",
                code="source.damaged",
            )
        return Storage(stated.key, stated.dtype, data, self._big_endian, stated.device)


def _big_endian(archive: Archive, root: str, reading: Reading) -> bool:
    name = f"{root}byteorder"
    if name not in archive.entries:
        return False
    block = reading.open(archive, name)
    # Enough to show in the refusal what stands there instead.
    order = block.read(0, min(block.size, 16))
    if order not in (b"little", b"big"):
        _ambiguous(f"has the byte order {printable(order)}")
    return order == b"big"


def _ambiguous(what: str) -> NoReturn:
    raise SourceError(what, fix="re-save it with the program that wrote it", code="source.ambiguous")
