"""A folder in a bucket or on a server of files.

Each object that was put by a writer of checkpoints holds its word. A put of one that lost may come late, when the
checkpoint of another is there: what holds another word than the manifest is passed over.
"""

import re
from collections.abc import Iterator, Mapping

from ckptfmt.remote.address import Url
from ckptfmt.remote.failure import Absent
from ckptfmt.remote.folder import FarFolder
from ckptfmt.remote.store import Found, open_store

__all__ = ["BucketFolder", "changed_word"]

_WORD = re.compile(r"[0-9a-f]{16}")


def changed_word(before: str, fresh: str) -> str:
    """Return the word of whoever changes the manifest of the writer of the word `before`; its files stay its own."""
    found = _WORD.match(before)
    return (found[0] if found else "-") + fresh


class BucketFolder(FarFolder):
    """The objects below a key, as far as no slash follows."""

    def __init__(self, url: Url) -> None:
        super().__init__(url)
        self.store = open_store(url)
        self._word = ""

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

    def folders(self) -> Iterator[str]:
        """Yield the names of the folders in it, from a listing that does not look into them."""
        return self.store.folders(self.url.key)

    def fetch(self, name: str, begin: int, size: int) -> tuple[bytes, int]:
        """Return bytes of a file, fewer where it ends before, and how large it is; raise `Absent`."""
        data, there = self.store.read(self.key(name), begin, size)
        if name not in self._taken and self._is_anothers(there):
            raise Absent(name)
        return data, there.size

    def fetch_all(self, name: str, most: int) -> bytes:
        """Return a file, of which more than `most` bytes are not fetched to the end; raise `Absent`."""
        return self.store.read_all(self.key(name), most)[0]

    def fetch_manifest(self, name: str, most: int) -> bytes:
        """Return the file that says which others belong here, as `fetch_all`, and whose they are."""
        data, there = self.store.read_all(self.key(name), most)
        found = _WORD.match(there.writer)
        self._word = found[0] if found else ""
        return data

    def was_left(self, name: str) -> bool:
        """Return whether an upload has left this file that did not become what lies here."""
        try:
            return bool(self._word) and self._is_anothers(self.store.look(self.key(name)))
        except Absent:
            return False

    def stream(self, name: str) -> Iterator[memoryview]:
        """Yield a file in parts; raise `Absent`."""
        return self.store.stream(self.key(name))

    def _is_anothers(self, there: Found) -> bool:
        return bool(self._word and there.writer) and not there.writer.startswith(self._word)
