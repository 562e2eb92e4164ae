"""A checkpoint that several processes write together: each its own files, and the first one commits.

All write into the one staging folder of the first rank, which alone holds the lock, and each reads back what it wrote.
Before every step all tell one another how the one before went, so that nobody waits for a rank that failed, and what
one could not do is published by none. Processes give each other JSON and nothing else.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ckptfmt.errors import CkptError, WriteError
from ckptfmt.format.files import MANIFEST, release
from ckptfmt.format.manifest import FileEntry, Manifest, SplitEntry, WholeEntry
from ckptfmt.format.parse import parse_manifest
from ckptfmt.remote.url import as_path, is_url
from ckptfmt.store.write.acceptance import accepted, require_few
from ckptfmt.store.write.commit import MANIFEST_SPACE, stage, write_file
from ckptfmt.store.write.datafile import write_files
from ckptfmt.store.write.failure import reported, require_space
from ckptfmt.store.write.held import Held
from ckptfmt.store.write.place import Place, hold_place
from ckptfmt.store.write.publish import publish_folder
from ckptfmt.store.write.shares import announce, share_out
from ckptfmt.store.write.split import split_of, with_split
from ckptfmt.store.write.tensorfile import TensorFile

__all__ = ["Peers", "Steps", "write_together"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Build = Callable[[Mapping[str, FileEntry]], Manifest]


class Peers(Protocol):
    """The processes that save together."""

    @property
    def rank(self) -> int:
        """Return the number of this process; 0 commits."""

    @property
    def size(self) -> int:
        """Return how many there are."""

    def pieces(self, tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what this process holds of tensors by name: those that are spread over all as the `Part` it has."""

    def exchange(self, message: bytes) -> list[bytes]:
        """Return the messages of all ranks, in their order; all must call it.

        Raises `WriteError` where one does not answer in time.
        """


def write_together(
    path: str | os.PathLike[str],
    files: Mapping[str, TensorFile],
    build: Build,
    peers: Peers,
    *,
    overwrite: bool = False,
    wait: float = 0.0,
) -> Manifest:
    """Write a checkpoint of what all ranks hold and return its manifest in every one of them.

    `files`, by the names of `SAFETENSORS`, are what this rank holds: tensors, and slices of those that are spread over
    ranks. The folder of `path` must be the same one for all. `build` is called in rank 0. What goes wrong in a rank is
    raised there as by `write_checkpoint`; the others raise `WriteError` that names it, and nothing is published.
    """
    where = as_path(path)
    steps = Steps(peers, where)
    with reported(where), contextlib.ExitStack() as stack:
        share = share_out(files, steps.take("give its tensors", lambda: _announced(path, files)), peers.rank)
        # All have told the same, so all of them end here, and none waits for another.
        require_few(share.count, where=where)
        work = _Work(where, peers, stack)
        staged = steps.take("begin", lambda: work.begin(share.total, overwrite, wait))[0]
        written = steps.take("write", lambda: work.write(staged, share.files))
        entries = {name: FileEntry.from_dict(raw) for answer in written for name, raw in answer.items()}
        halves = steps.take("read back", lambda: work.read_back(entries))
        data = steps.take("publish", lambda: work.publish(build, entries, halves))[0]
    return parse_manifest(data.encode(), where=os.path.join(where, MANIFEST))


def _announced(path: str | os.PathLike[str], files: Mapping[str, TensorFile]) -> list[Any]:
    if is_url(path):
        raise WriteError(
            "is in a store, where ranks cannot write together",
            where=os.fspath(path),
            fix="leave it to rank 0, which gathers and writes",
            code="write.ranks-far",
        )
    return announce(files)


class Steps:
    """The steps of a save, each told to all before anybody takes the next one."""

    def __init__(self, peers: Peers, where: str) -> None:
        self._peers = peers
        self._where = where

    def take(self, what: str, do: Callable[[], Any]) -> list[Any]:
        """Do this rank's part and return what that gave in each rank; raise where it failed in any.

        What failed here is raised as it is; for another rank `WriteError` says which one it was.
        """
        failure: Exception | None = None
        told: dict[str, Any] = {}
        try:
            told["done"] = do()
        except Exception as e:  # whatever it is, the others must not wait for ever
            failure = e
            told["failed"] = e.what if isinstance(e, CkptError) else type(e).__name__
        try:
            answers = [json.loads(answer) for answer in self._peers.exchange(json.dumps(told).encode())]
        except CkptError as e:
            raise failure or e.but(where=self._where) from None
        if failure is not None:
            raise failure
        for number, answer in enumerate(answers):
            if "done" not in answer:
                raise WriteError(
                    f"rank {number} could not {what}: {answer['failed']}",
                    where=self._where,
                    fix="its own error says more",
                    code="write.other-rank",
                )
        return [answer["done"] for answer in answers]


class _Work:
    """What this rank does in each step; what it opens is closed, and what it staged removed, with `stack`."""

    def __init__(self, where: str, peers: Peers, stack: contextlib.ExitStack) -> None:
        self._where = where
        self._peers = peers
        self._stack = stack
        self._lead: tuple[Place, Held | None, Held] | None = None
        self._folder = -1

    def begin(self, total: int, overwrite: bool, wait: float) -> str:
        """In rank 0 take the lock and make the staging folder; return its path."""
        if self._peers.rank:
            return ""
        place = self._stack.enter_context(hold_place(self._where, wait=wait))
        before = self._stack.enter_context(place.occupant(overwrite=overwrite))
        require_space(place.folder, total + MANIFEST_SPACE, where=self._where)
        staged = self._stack.enter_context(stage(place, before))
        self._lead, self._folder = (place, before, staged), staged.file
        # Other ranks may be in another folder, where a relative path is another place.
        return os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(self._where))), staged.name)

    def write(self, staged: str, files: Mapping[str, TensorFile]) -> dict[str, Any]:
        """Write this rank's files into the staging folder, flushed and read back; return their entries."""
        if self._peers.rank:
            self._folder = os.open(staged, _FOLDER)
            self._stack.callback(release, self._folder)
        written = write_files(self._folder, files, where=self._where)
        return {name: entry.to_dict() for name, entry in written.items()}

    def read_back(self, entries: Mapping[str, FileEntry]) -> dict[str, Any]:
        """Take the digests of this rank's share of the tensors in slices, whoever wrote them."""
        split = split_of(self._folder, entries, self._where, share=self._peers.rank, shares=self._peers.size)
        return {plain: entry.to_dict() for plain, entry in split.items()}

    def publish(self, build: Build, entries: Mapping[str, FileEntry], halves: list[dict[str, Any]]) -> str:
        """In rank 0 write the manifest and give the folder its name; return the manifest's text."""
        if self._lead is None:
            return ""
        place, before, staged = self._lead
        whole: dict[str, dict[str, WholeEntry]] = {}
        for half in halves:
            for plain, raw in half.items():
                whole.setdefault(plain, {}).update(SplitEntry.from_dict(raw).tensors)
        ordered = {name: entries[name] for name in sorted(entries, key=_weights_first)}
        split = {plain: SplitEntry(tensors=tensors) for plain, tensors in whole.items()}
        data, manifest = accepted(with_split(build(ordered), split), where=self._where)
        write_file(staged.file, MANIFEST, data, where=self._where)
        os.fsync(staged.file)
        publish_folder(place, staged, manifest, replacing=before)
        return data.decode()


def _weights_first(name: str) -> tuple[bool, bool, str]:
    # As a save of one process lists them: the same content makes the same manifest.
    return not name.startswith("weights"), not name.startswith("state"), name
