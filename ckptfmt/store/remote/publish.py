"""Commit to a bucket: every object on a condition, the manifest last.

A writer begins with a mark in the place of the manifest, put where nothing is, so of two writers the second one fails
before it has sent anything. Data objects are put where nothing is too. The manifest comes last, in the place of the
mark on the condition that it is still ours, and is the commit: without it there is no checkpoint. Nothing that was
committed is ever replaced. What a dead writer left is taken over by replacing its mark, which makes its commit fail
should it not be dead; then each of its objects is replaced on the condition that it is still that one. Names are
removed only once nobody but us can have committed.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ckptfmt.errors import CkptError, Locked, TargetExists
from ckptfmt.format.far import REMOVED, is_manifest, is_tombstone, replaceable, tombstone, unfinished
from ckptfmt.format.files import MANIFEST, MAX_MANIFEST, is_companion
from ckptfmt.format.record import record
from ckptfmt.remote.bucket import BucketFolder
from ckptfmt.remote.failure import Absent, StoreError, Taken
from ckptfmt.remote.store import Found
from ckptfmt.store.remote.names import belongs, in_the_way, sending_name
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
# How many versions a mark names, which must be smaller than a manifest.
_MOST_OVER = 30
_MARK = b"ckptfmt: an upload was taken over\n"


@record
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
    mark: Found | None = None
    # Versions that puts of those we took over from may still replace, and those that ours may.
    before: tuple[str, ...] = ()
    over: tuple[str, ...] = ()

    def begin(self) -> None:
        """Raise where something is in the way, or put the mark that says that this place is ours."""
        there = self.folder.list()
        if is_manifest(there.get(MANIFEST)):
            raise _committed(self.folder.where)
        if there and not self.take_over:
            raise TargetExists(
                "holds files of an upload that did not finish, or is still running",
                where=self.folder.where,
                fix="add overwrite=True to take it over, or choose another URL",
            )
        if foreign := sorted(name for name in there if not belongs(name)):
            raise in_the_way(self.folder.where, foreign[0])
        self._put_mark(self._uncommitted() if MANIFEST in there else None)

    def send(self, name: str, file: Sent) -> Found:
        """Put a data file where nothing is, or in the place of what a dead writer left."""
        sent = self._send_large(name, file) if file.size > _WHOLE else self._send_whole(name, file)
        file.check()
        return sent

    def commit(self, manifest: bytes) -> None:
        """Put the manifest; raise `Locked` where another writer was faster."""
        try:
            self._put(MANIFEST, manifest, self.word, self.mark)
        except Taken:
            raise self._lost() from None
        except CkptError as e:
            with contextlib.suppress(Absent, CkptError):
                if self.folder.store.look(self.folder.key(MANIFEST)).writer == self.word:
                    return
            fix = "look with: ckpt validate URL"
            raise StoreError(f"{e.what}; whether it was committed is not known", where=e.where, fix=fix) from None

    def finish(self, sent: Mapping[str, Found]) -> None:
        """Remove what a dead writer left beside the files of the checkpoint, and look at those again."""
        try:
            if self.take_over:
                self._clean(sent)
            there = self.folder.list()
        except CkptError as e:
            what = f"was committed, but could not be read back: {e.what}"
            raise StoreError(what, where=self.folder.where, fix="look with: ckpt validate URL", code=e.code) from None
        for name, found in sent.items():
            if there.get(name) != found.size:
                what = f"was committed, but a late removal by another writer then deleted '{name}'"
                raise StoreError(what, where=self.folder.where, fix="choose another URL", code="write.lost")

    def check(self, sent: Mapping[str, Found]) -> None:
        """Raise where what lies there is not what was sent."""
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
        self.before = self.over = replaceable(data)
        return there

    def _put_mark(self, over: Found | None) -> None:
        try:
            self.mark = self._put(MANIFEST, tombstone(self.word, self.over), self.word + "t", over)
        except Taken:
            raise self._lost() from None

    def _clean(self, mine: Iterable[str]) -> None:
        for name in sorted(set(self.folder.list()) - {MANIFEST, *mine}):
            key = self.folder.key(name)
            with contextlib.suppress(Absent):
                # A card that holds no writer's word was put there by somebody else, and does no harm.
                if belongs(name) and not (is_companion(name) and not self.folder.store.look(key).writer):
                    self.folder.store.remove([key])

    def _send_whole(self, name: str, file: Sent) -> Found:
        body = b"".join(file.parts())

        def put(over: Found | None) -> Found:
            if over is not None:
                self._announce(over, body)
            return self._put(name, body, self.word, over)

        sent = self._replacing(name, put)
        if _short(sent) in self.before:
            # S3 tells versions by their bytes. Whoever we took over from may have a put on its way that replaces this
            # version, and would replace ours after the commit.
            raise self._lost()
        self.progress(len(body))
        return sent

    def _announce(self, over: Found, body: bytes) -> None:
        """Say in the mark which version is about to be replaced by other bytes, before it is."""
        same = over.e_tag.strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()
        if not same and _short(over) not in self.over:
            self.over = (*self.over, _short(over))[-_MOST_OVER:]
            self._put_mark(self.mark)

    def _send_large(self, name: str, file: Sent) -> Found:
        """Upload under a name of our own, in parts, and give it its name where that is free."""
        store, own = self.folder.store, self.folder.key(sending_name(name, self.word))
        try:
            store.upload(own, _counted(file.parts(), self.progress), self.word)

            def name_it(over: Found | None) -> Found:
                if over is not None:
                    # A large object cannot be replaced on a condition; a small one that has its place can, and goes.
                    self._put(name, _MARK, self.word, over)
                    self._still_ours()
                    store.remove([self.folder.key(name)])
                try:
                    store.copy_new(own, self.folder.key(name))
                except Taken:
                    # A copy holds no word; where its answer was lost, its bytes tell it from another's.
                    if not self._is_there(name, file):
                        raise
                return Found(file.size, "")

            return self._replacing(name, name_it)
        finally:
            store.remove([own])

    def _replacing(self, name: str, put: Callable[[Found | None], Found]) -> Found:
        """Put an object; where one is in the way and may be taken over, put it in its place."""
        over: Found | None = None
        for _ in range(_TIMES):
            # After the look below: whoever takes over puts nothing before its mark, so what was seen is not its.
            self._still_ours()
            try:
                return put(over)
            except Taken:
                pass
            try:
                over = self.folder.store.look(self.folder.key(name))
            except Absent:
                over = None
            if over is not None and not self.take_over:
                break
        raise self._lost()

    def _is_there(self, name: str, file: Sent) -> bool:
        """Return whether these very bytes lie there."""
        key = self.folder.key(name)
        with contextlib.suppress(Absent):
            if self.folder.store.look(key).size == file.size:
                return _digest(self.folder.store.stream(key)) == _digest(file.parts())
        return False

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
    upload.finish(sent)


def _short(version: Found) -> str:
    return hashlib.sha256(version.e_tag.encode()).hexdigest()[:8]


def _digest(parts: Iterable[bytes | memoryview]) -> bytes:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


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
