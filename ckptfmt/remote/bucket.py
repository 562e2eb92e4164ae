"""A folder in a bucket or on a server of files."""

from collections.abc import Iterator, Mapping

from ckptfmt.remote.address import Url
from ckptfmt.remote.failure import Absent
from ckptfmt.remote.folder import FarFolder
from ckptfmt.remote.store import open_store

__all__ = ["BucketFolder"]


class BucketFolder(FarFolder):
    """The objects below a key, as far as no slash follows."""

    def __init__(self, url: Url) -> None:
        super().__init__(url)
        self.store = open_store(url)

    @property
    def can_list(self) -> bool:
        """Return whether it is a bucket; a server of files has no listing that all of them give."""
        return self.store.is_bucket

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None where it is not there."""
        if self.can_list:
            return super().size(name)
        try:
            return self.store.look(self.key(name)).size
        except Absent:
            return None

    def key(self, name: str) -> str:
        """Return the key of a file."""
        return f"{self.url.key}/{name}" if self.url.key else name

    def list(self) -> Mapping[str, int]:
        """Return the size of each file by its name."""
        return {name: size for name, size in self.walk() if "/" not in name}

    def walk(self) -> Iterator[tuple[str, int]]:
        """Yield the name and the size of each file below, those in further folders among them."""
        begin = f"{self.url.key}/" if self.url.key else ""
        for key, there in self.store.list(self.url.key):
            yield key.removeprefix(begin), there.size

    def fetch(self, name: str, begin: int, size: int) -> tuple[bytes, int]:
        """Return bytes of a file, fewer where it ends before, and how large it is; raise `Absent`."""
        data, there = self.store.read(self.key(name), begin, size)
        return data, there.size

    def fetch_all(self, name: str, most: int) -> bytes:
        """Return a file, of which more than `most` bytes are not fetched to the end; raise `Absent`."""
        return self.store.read_all(self.key(name), most)[0]

    def stream(self, name: str) -> Iterator[memoryview]:
        """Yield a file in parts; raise `Absent`."""
        return self.store.stream(self.key(name))
