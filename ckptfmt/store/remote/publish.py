"""Commit to a bucket: every object on a condition, the manifest last.

Every data object is put where nothing is yet, so of two writers the second one fails. The manifest comes last, and is
the commit: without it there is no checkpoint. Nothing that was committed is ever replaced. What a dead writer left is
taken over: a tombstone in the place of the manifest makes its commit fail, should it not be dead; then each of its
objects is replaced on the condition that it is still that one, and the tombstone by the manifest on the condition that
it is still ours. Names are removed only once nobody but us can have committed.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ckptfmt.errors import CkptError, Locked, TargetExists
from ckptfmt.format.far import REMOVED, is_manifest, is_tombstone, tombstone, unfinished
from ckptfmt.format.files import MANIFEST, MAX_MANIFEST
from ckptfmt.remote.bucket import BucketFolder
from ckptfmt.remote.failure import Absent, StoreError, Taken
from ckptfmt.remote.store import Found
from ckptfmt.store.remote.probe import require_conditions

__all__ = ["Progress", "Sent", "file_parts", "publish"]

# Called with how many more bytes were sent.
Progress = Callable[[int], None]

# Up to this size an object is sent by one put, which is held in memory twice.
_WHOLE = 32 << 20
# The smallest part that S3 takes is 5 MiB.
_PART = 8 << 20
# How often an object of a dead writer that comes late is replaced again.
_TIMES = 10
_MARK = b"ckptfmt: an upload was taken over\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """A file to be sent: its bytes, a call that gives them in parts, one that raises where it has changed since."""

    size: int
    parts: Callable[[], Iterable[bytes]]
    check: Callable[[], None]


@dataclass(slots=True)
class _Upload:
    folder: BucketFolder
    progress: Progress
    take_over: bool
    # By it a writer knows its own objects again, also where an answer was lost.
    word: str = field(default_factory=lambda: secrets.token_hex(8))
    tombstone: Found | None = None

    def begin(self) -> None:
        """Raise where something is in the way, or put the tombstone that takes it over."""
        there = self.folder.list()
        if is_manifest(there.get(MANIFEST)):
            raise _committed(self.folder.where)
        if not there:
            return
        if not self.take_over:
            raise TargetExists(
                "holds what an upload left that did not finish, or that goes on",
                where=self.folder.where,
                fix="add overwrite=True to take it over, or choose another URL",
            )
        self._entomb(self._uncommitted() if MANIFEST in there else None)

    def send(self, name: str, file: Sent) -> Found:
        """Put a data file where nothing is, or in the place of what a dead writer left."""
        sent = self._send_large(name, file) if file.size > _WHOLE else self._send_whole(name, file)
        file.check()
        return sent

    def commit(self, manifest: bytes) -> None:
        """Put the manifest; raise `Locked` where another writer was faster."""
        try:
            self._put(MANIFEST, manifest, self.word, self.tombstone)
        except Taken:
            raise self._lost() from None
        except CkptError as e:
            with contextlib.suppress(Absent, CkptError):
                if self.folder.store.look(self.folder.key(MANIFEST)).writer == self.word:
                    return
            fix = "look with: ckpt validate URL"
            raise StoreError(f"{e.what}; whether it was committed is not known", where=e.where, fix=fix) from None

    def clean(self, mine: Iterable[str]) -> None:
        """Remove what a dead writer left beside the files of the checkpoint that was committed."""
        if self.tombstone is not None:
            left = set(self.folder.list()) - {MANIFEST, *mine}
            self.folder.store.remove([self.folder.key(name) for name in sorted(left)])

    def check(self, sent: Mapping[str, Found]) -> None:
        """Raise where what lies there is not what was sent: before the commit, and after it."""
        there = self.folder.list()
        for name, found in sent.items():
            if there.get(name) != found.size:
                raise self._lost()

    def _uncommitted(self) -> Found:
        """Return what stands in the place of the manifest and is none."""
        try:
            data, there = self.folder.store.read_all(self.folder.key(MANIFEST), MAX_MANIFEST)
        except Absent:
            raise self._lost() from None
        if data == REMOVED:
            # Who removes its files may still be at it, and would remove ours.
            raise unfinished(self.folder.where, data)
        if not is_tombstone(data):
            raise _committed(self.folder.where)
        return there

    def _entomb(self, over: Found | None) -> None:
        """Put the tombstone, so that the writer whose objects are replaced cannot commit any more."""
        try:
            self.tombstone = self._put(MANIFEST, tombstone(self.word), self.word + "t", over)
        except Taken:
            raise self._lost() from None

    def _send_whole(self, name: str, file: Sent) -> Found:
        body = b"".join(file.parts())
        sent = self._replacing(name, lambda over: self._put(name, body, self.word, over))
        self.progress(len(body))
        return sent

    def _send_large(self, name: str, file: Sent) -> Found:
        """Upload under a name of our own, in parts, and give it its name where that is free."""
        store, own = self.folder.store, self.folder.key(f".{name}.{self.word}")
        try:
            store.upload(own, _counted(file.parts(), self.progress), self.word)

            def name_it(over: Found | None) -> Found:
                if over is not None:
                    # A large object cannot be replaced on a condition; a small one that has its place can, and goes.
                    self._put(name, _MARK, self.word, over)
                    self._still_ours()
                    store.remove([self.folder.key(name)])
                store.copy_new(own, self.folder.key(name))
                return Found(file.size, "")

            return self._replacing(name, name_it)
        finally:
            store.remove([own])

    def _replacing(self, name: str, put: Callable[[Found | None], Found]) -> Found:
        """Put an object; where one is in the way and may be taken over, put it in its place."""
        over: Found | None = None
        for _ in range(_TIMES):
            try:
                return put(over)
            except Taken:
                if not self.take_over:
                    raise self._lost() from None
                if self.tombstone is None:
                    # A put of a dead writer that the store has finished only now.
                    self._entomb(None)
            try:
                over = self.folder.store.look(self.folder.key(name))
            except Absent:
                over = None
            # In this order: whoever takes over from us puts nothing before its tombstone, so what was seen is not its.
            self._still_ours()
        raise self._lost()

    def _still_ours(self) -> None:
        """Raise where another writer has taken over from us."""
        with contextlib.suppress(Absent):
            if self.folder.store.look(self.folder.key(MANIFEST)).writer == self.word + "t":
                return
        raise self._lost()

    def _put(self, name: str, body: bytes, word: str, over: Found | None) -> Found:
        return self.folder.store.put(self.folder.key(name), body, word, over=over)

    def _lost(self) -> Locked:
        return Locked("another writer was faster", where=self.folder.where, fix="choose another URL", code="write.lost")


def publish(
    folder: BucketFolder,
    files: Mapping[str, Sent],
    manifest: bytes,
    *,
    take_over: bool = False,
    progress: Progress = lambda _: None,
) -> None:
    """Commit a checkpoint of `files` and `manifest` at a URL, where none is.

    With `take_over` what an upload left that did not finish is replaced. Raises `TargetExists` where a checkpoint is
    there, `Locked` where another writer was faster, `CkptError` for a store that does not honour conditions and for
    all that a store refuses; what is there then is no checkpoint, or that of the other.
    """
    require_conditions(folder)
    upload = _Upload(folder, progress, take_over)
    upload.begin()
    sent = {name: upload.send(name, file) for name, file in files.items()}
    upload.check(sent)
    upload.commit(manifest)
    upload.clean(sent)
    upload.check(sent)


def _counted(parts: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    for part in parts:
        yield part
        progress(len(part))


def _committed(where: str) -> TargetExists:
    return TargetExists(
        "holds a checkpoint, and one in a store is never replaced", where=where, fix="choose another URL"
    )


def file_parts(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file that is open; raise `CkptError` where it ends before."""
    for begin in range(0, size, _PART):
        part = os.pread(descriptor, min(_PART, size - begin), begin)
        if len(part) < min(_PART, size - begin):
            raise CkptError("was cut short while it was sent", code="remote.changed")
        yield part
