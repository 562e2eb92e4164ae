"""A folder in a store, read as one on a disk is: the bytes of a file from an offset, its size, the names.

Each request costs, so nothing is asked for before it is needed: a file is opened without one, and its size comes
with its first bytes. Whoever reads on gets more than was asked for, so that a long walk through a file is few requests.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ckptfmt.remote.failure import Absent

if TYPE_CHECKING:
    from ckptfmt.remote.address import Url

__all__ = ["FarFile", "FarFolder"]

# How much is read ahead of who reads on, at first and at most.
_AHEAD = (1 << 20, 16 << 20)
# The largest request: a tensor that is larger comes in several.
_REQUEST = 64 << 20


class FarFolder(ABC):
    """A folder in a store; `where` is its URL."""

    def __init__(self, url: "Url") -> None:
        self.url = url
        self.where = str(url)
        self._listed: Mapping[str, int] | None = None
        self._taken: set[str] = set()

    @property
    def can_list(self) -> bool:
        """Return whether the names in it can be known."""
        return True

    def names(self) -> Mapping[str, int]:
        """Return the size of each file in the folder by its name, from one listing."""
        if self._listed is None:
            self._listed = self.list()
        return self._listed

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None where it is not there."""
        return self.names().get(name)

    def called(self, name: str, stand_in: str) -> str:
        """Return the name of a file, or the one that stands for it where it is not there and that one is."""
        return stand_in if stand_in != name and self.size(name) is None and self.size(stand_in) is not None else name

    def sha256(self, name: str) -> str:
        """Return what the store knows to be the SHA-256 of a file, "" where it knows none."""
        return ""

    def fetch_manifest(self, name: str, most: int) -> bytes:
        """Return the file that says which others belong here, as `fetch_all`."""
        return self.fetch_all(name, most)

    def was_left(self, name: str) -> bool:
        """Return whether an upload has left this file that did not become what lies here."""
        return False

    def take(self, name: str) -> None:
        """Read this file from now on whoever put it there: nothing else stands for it."""
        self._taken.add(name)

    def open(self, name: str) -> "FarFile":
        """Return a file, which may not be there; reading it raises `Absent` then."""
        return FarFile(self, name)

    def close(self) -> None:
        """Forget the names that were listed."""
        self._listed = None

    @abstractmethod
    def list(self) -> Mapping[str, int]:
        """Return the size of each file by its name."""

    @abstractmethod
    def fetch(self, name: str, begin: int, size: int) -> tuple[bytes, int]:
        """Return bytes of a file, fewer where it ends before, and how large it is; raise `Absent`."""

    @abstractmethod
    def fetch_all(self, name: str, most: int) -> bytes:
        """Return a file, of which more than `most` bytes are not fetched to the end; raise `Absent`."""

    @abstractmethod
    def stream(self, name: str) -> Iterator[memoryview | bytes]:
        """Yield a file in parts; raise `Absent`."""


class FarFile:
    """A file in a store; may be read by several threads."""

    def __init__(self, folder: FarFolder, name: str) -> None:
        self.folder = folder
        self.name = name
        self._size: int | None = None
        self._window = (0, b"")
        self._next = -1
        self._ahead = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Return how many bytes it has; raise `Absent`."""
        if self._size is None:
            self._size = self.folder.size(self.name)
            if self._size is None:
                raise Absent(self.name)
        return self._size

    def read(self, begin: int, size: int) -> bytes:
        """Return `size` bytes from an offset, fewer where the file ends before; raise `Absent`."""
        with self._lock:
            start, held = self._window
            if not (start <= begin and begin + size <= start + len(held)):
                start, held = self._window = begin, self._more(begin, size)
            self._next = begin + size
            return held[begin - start : begin - start + size]

    def fill(self, begin: int, target: memoryview) -> int:
        """Read into `target` as far as the file goes and return how far; raise `Absent`."""
        done = 0
        while done < len(target):
            part = self.read(begin + done, min(_REQUEST, len(target) - done))
            if not part:
                break
            target[done : done + len(part)] = part
            done += len(part)
        return done

    def close(self) -> None:
        """Let go of what was read ahead."""
        self._window = (0, b"")

    def _more(self, begin: int, size: int) -> bytes:
        """Fetch what was asked for, and more where that is where the last reading ended."""
        start, held = self._window
        first, most = _AHEAD
        self._ahead = min(max(2 * self._ahead, first), most) if begin == self._next else 0
        # What is held of it already is not fetched again.
        kept = held[begin - start :] if start <= begin < start + len(held) else b""
        data, self._size = self.folder.fetch(self.name, begin + len(kept), max(size, self._ahead) - len(kept))
        return kept + data if kept else data
