"""What reading one source may cost, spent as it is read; beyond it the source is refused with one sentence."""

from collections.abc import Hashable

from ckptfmt.errors import BadPickle, SourceError, TooCostly
from ckptfmt.legacy.bytes import gather
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage

__all__ = ["MAX_DEPTH", "MAX_MEMO", "MAX_NODES", "MAX_STACK", "MAX_TEXT", "Budget", "exceeded"]

# Opcodes: a network takes some for each tensor; only what builds objects by the million takes as many.
_MAX_STEPS = 4_000_000
# What copying an item of a container costs; it is made anew, and looked at once more.
_COPY = 4
# Objects that are held at once, by the memo and by the stack: each takes some 100 bytes, so they bound the memory to
# a few hundred megabytes.
MAX_MEMO = 2_000_000
MAX_STACK = 1_000_000
# A fifth of the depth at which Python's own recursion ends; no settings nest like that.
MAX_DEPTH = 200
# Objects of the finished graph, shared ones counted at every place: twice what the steps allow.
MAX_NODES = 8_000_000
# Text and short byte strings are held in memory; one string, and all of them.
MAX_TEXT = 64 << 20
_MAX_ALL_TEXT = 256 << 20
# Whole modules name some hundreds; each name is kept for the report.
_MAX_NAMES = 10_000
# Bytes of all different views together: a free part, and a multiple of the storages they look into.
_FREE_VIEWS = 128 << 20
_VIEWS = 4
# Copies of a few elements each; two million take some seconds.
_MAX_COPIES = 2_000_000
# Keys whose hash their writer can choose (large integers, floats, tuples) cost at worst one comparison with
# each that is there already: at most this many steps in all, and this many keys of one hash in a dict.
_MAX_KEY_STEPS = 2**29
_MAX_EQUAL_HASHES = 32
# Whole numbers of this size are their own hash, and different ones collide no more than a list's places do.
_SMALL = 1 << 20
# Keys are names, numbers and small tuples; a hash is computed anew each time that the tuple is looked up.
_MAX_KEY_NODES = 256


def exceeded(what: str) -> SourceError:
    """Return the refusal of a source that costs too much to read."""
    return TooCostly(
        f"refused, its pickle {what}, which no honest checkpoint does; nothing was run",
        fix="get the weights from a source that you trust",
    )


class Budget:
    """Counters that pickles of one source share."""

    def __init__(self) -> None:
        self._steps = _MAX_STEPS
        self._text = _MAX_ALL_TEXT
        self._names = _MAX_NAMES
        self._copies = _MAX_COPIES
        self._view_bytes = 0
        self._storage_bytes = 0
        self._storages: set[Storage] = set()
        self._views: set[Hashable] = set()
        self._key_steps = _MAX_KEY_STEPS
        self._hashes: dict[int, tuple[object, dict[int, int]]] = {}

    def steps(self, count: int) -> None:
        """Spend opcodes, or the items of containers that one opcode copies."""
        self._steps -= count
        if self._steps < 0:
            raise exceeded(f"takes more than {_MAX_STEPS:,} steps")

    # Three levels of tuples: more than any function here takes apart.
    def copied(self, value: object, levels: int = 3) -> None:
        """Spend what copying the arguments of a call costs; a few bytes of a pickle can repeat a call."""
        if isinstance(value, str | bytes):
            self.text(len(value))
        elif isinstance(value, list | tuple | dict):
            self.steps(_COPY * len(value))
            if isinstance(value, tuple) and levels:
                for item in value:
                    self.copied(item, levels - 1)

    def text(self, size: int) -> None:
        """Spend the bytes of a string that is held in memory."""
        self._text -= size
        if size > MAX_TEXT or self._text < 0:
            raise exceeded(f"holds more than {(MAX_TEXT if size > MAX_TEXT else _MAX_ALL_TEXT) >> 20} MiB of text")

    def name(self) -> None:
        """Spend one name of a class or function."""
        self._names -= 1
        if self._names < 0:
            raise exceeded(f"names more than {_MAX_NAMES:,} classes and functions")

    def tensor(self, tensor: LegacyTensor) -> None:
        """Spend the bytes and the work of writing out a tensor; the same elements again cost nothing."""
        if tensor.identity in self._views:
            return
        self._views.add(tensor.identity)
        if tensor.storage not in self._storages and tensor.storage.data is not None:
            self._storages.add(tensor.storage)
            self._storage_bytes += tensor.storage.data.size
        self._view_bytes += tensor.nbytes
        if self._view_bytes > _VIEWS * self._storage_bytes + _FREE_VIEWS:
            raise exceeded(f"views {self._storage_bytes:,} bytes so often that they become {self._view_bytes:,}")
        if not gather.dense(tensor.shape, tensor.strides):
            self._copies -= gather.cost(tensor.shape, tensor.strides, tensor.width)
        if self._copies < 0:
            raise exceeded("holds views whose elements lie too far apart")

    def key(self, target: dict[object, object], key: object) -> None:
        """Spend the work of setting a key in a dict, whose hash the key's writer may have chosen."""
        # Python salts the hashes of text and bytes in every process: nobody can choose them.
        if type(key) in (str, bytes, bool, type(None)) or (type(key) is int and -_SMALL < key < _SMALL):
            return
        _check_key(key)
        self._key_steps -= len(target)
        if key in target:
            return
        # The dict is held too, or another one might come to lie at its address.
        hashes = self._hashes.setdefault(id(target), (target, {}))[1]
        hashes[hash(key)] = count = hashes.get(hash(key), 0) + 1
        if self._key_steps < 0 or count > _MAX_EQUAL_HASHES:
            raise exceeded("holds a dictionary whose keys are made to be slow to look up")


def _check_key(key: object) -> None:
    """Refuse a key that cannot be one or that takes long to hash: tuples do not remember their hash."""
    nodes, waiting = 0, [key]
    while waiting:
        item = waiting.pop()
        nodes += 1
        if type(item) is tuple:
            waiting.extend(item)
        if isinstance(item, list | dict):
            raise BadPickle("its pickle uses a list or a dictionary as a key")
        if nodes + len(waiting) > _MAX_KEY_NODES:
            raise exceeded(f"holds a key of more than {_MAX_KEY_NODES} parts")
