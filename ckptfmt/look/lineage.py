"""Where checkpoints came from: parents found by their digests among the checkpoints of folders, offline."""

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.far import is_manifest
from ckptfmt.format.files import MANIFEST, open_near, release
from ckptfmt.format.record import record
from ckptfmt.format.shards import is_data_file
from ckptfmt.look.figures import evaluation_points, training_step
from ckptfmt.remote.ahead import each
from ckptfmt.remote.far import open_far
from ckptfmt.remote.url import is_url, join
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Ancestor", "Descent", "ancestors", "find_checkpoints", "lineage"]

# Deeper than this nobody keeps runs, and a folder that holds itself through a mount ends somewhere.
_DEEPEST = 8
# A chain of resumes is as long as a training was interrupted; a longer one is a loop of forged digests.
_LONGEST = 10_000


@record
class Ancestor:
    """One checkpoint of a chain; `path` is None where it is named and was not found.

    `kind` says what it is to its parent (resumed, fine-tuned, converted, ...), `source` of which file it was
    made where it was converted.
    """

    path: str | None
    digest: str
    kind: str | None
    parent: str | None
    step: float | None
    mean: float | None
    source: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return one of `nodes` of `ckpt lineage --json`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@record
class Descent:
    """A checkpoint and its ancestors, the youngest first."""

    nodes: tuple[Ancestor, ...]

    @property
    def complete(self) -> bool:
        """Return whether every parent that is named was found."""
        return all(node.path is not None for node in self.nodes)

    @property
    def edges(self) -> tuple[dict[str, Any], ...]:
        """Return each step from a child to its parent."""
        pairs = zip(self.nodes, self.nodes[1:], strict=False)
        return tuple(
            {"child": child.digest, "parent": parent.digest, "kind": child.kind or ""} for child, parent in pairs
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt lineage --json`."""
        return {"nodes": [node.to_dict() for node in self.nodes], "edges": list(self.edges)}


def lineage(path: str | os.PathLike[str], folders: Iterable[str | os.PathLike[str]] = ()) -> Descent:
    """Return the checkpoint at `path` and its ancestors, looked for in `folders` and in the folder around it.

    Only manifests are read. A parent is known by the digest of its manifest, or of its content where its
    manifest was changed since, by an evaluation for one. Raises what `ckptfmt.open` raises for `path` itself.
    """
    return Descent(tuple(ancestors(path, folders)))


def ancestors(path: str | os.PathLike[str], folders: Iterable[str | os.PathLike[str]] = ()) -> Iterator[Ancestor]:
    """Yield what `lineage` returns, each as soon as it is found, the checkpoint at `path` first."""
    for folder in (given := tuple(folders)):
        # A misspelt folder would only make parents missing. In a store there are none to be looked for.
        if not is_url(folder):
            release(open_near(folder))
    with Checkpoint(path) as checkpoint:
        node = _ancestor(checkpoint)
    yield node
    parents = _Parents(os.fspath(path).rstrip("/") if is_url(path) else os.path.realpath(path), given)
    seen: set[str] = set()
    while (wanted := node.parent) is not None and len(seen) + 1 < _LONGEST:
        seen.add(node.digest)
        node = parents.find(wanted) or Ancestor(None, wanted, None, None, None, None, None)
        yield node
        if node.path is None or node.digest in seen:
            break


def find_checkpoints(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the paths of the checkpoints in a folder and below it, or their URLs; links are not followed.

    A folder that may not be read, or has lost its manifest and holds a checkpoint's files, is yielded too: whoever
    opens it says what is wrong. In a store such files are an upload that is not finished.
    """
    yield from _far(os.fspath(folder)) if is_url(folder) else _walk(os.fspath(folder), 0)


def _far(url: str) -> Iterator[str]:
    """Yield the checkpoints below a URL as they are listed; none of a store that gives no listing."""
    folder = open_far(url)
    # The hub lists no folders in folders.
    if (walk := getattr(folder, "walk", None)) and folder.can_list:
        yield from (join(url, name.removesuffix(f"/{MANIFEST}")) for name, size in walk() if _is_checkpoint(name, size))


def _is_checkpoint(name: str, size: int) -> bool:
    return name.endswith(f"/{MANIFEST}") and is_manifest(size)


def _walk(folder: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        yield folder
        return
    names = {entry.name for entry in found if entry.is_file(follow_symlinks=False)}
    if MANIFEST in names or any(map(is_data_file, names)):
        yield folder
        return
    for entry in found:
        if depth < _DEEPEST and entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from _walk(entry.path, depth + 1)


class _Parents:
    """The checkpoints among which parents are looked for, read no further than they are needed.

    A run saves its checkpoints under names that sort as they were made, so those before the child are read first.
    """

    def __init__(self, child: str, folders: Iterable[str | os.PathLike[str]]) -> None:
        places = [os.path.dirname(child), *(os.fspath(folder) for folder in folders)]
        paths = chain(_before(child), chain.from_iterable(map(find_checkpoints, places)))
        self._read: set[str] = set()
        self._unread = filter(None, each(_look_at, self._once(paths)))
        self._by_digest: dict[str, Ancestor] = {}
        self._by_content: dict[str, list[Ancestor]] = {}
        self._places = places

    def find(self, wanted: str) -> Ancestor | None:
        """Return the checkpoint whose manifest has this digest, else the first whose content has; None for neither.

        The digest of a manifest names one checkpoint, that of a content may be of several.
        """
        while wanted not in self._by_digest and (looked_at := next(self._unread, None)) is not None:
            node, content = looked_at
            self._by_digest[node.digest] = node
            self._by_content.setdefault(content, []).append(node)
        return self._by_digest.get(wanted) or min(self._by_content.get(wanted, ()), key=self._place, default=None)

    def _once(self, paths: Iterable[str]) -> Iterator[str]:
        for path in paths:
            if path not in self._read:
                self._read.add(path)
                yield path

    def _place(self, node: Ancestor) -> tuple[int, list[str]]:
        path = str(node.path)
        inside = (i for i, folder in enumerate(self._places) if path.startswith(os.path.join(folder, "")))
        return next(inside, len(self._places)), path.split(os.sep)


def _before(child: str) -> Iterator[str]:
    """Yield the checkpoints beside one whose names come before its own, the nearest first."""
    folder, name = os.path.split(child)
    if is_url(child):
        # The hub lists no folders in folders.
        folders = getattr(far := open_far(folder), "folders", None)
        before = sorted(other for other in folders() if other < name) if folders and far.can_list else []
        yield from (join(folder, other) for other in reversed(before))
        return
    try:
        names = sorted(other for other in os.listdir(folder) if other < name and not other.startswith("."))
    except OSError:
        return
    for other in reversed(names):
        path = os.path.join(folder, other)
        if os.path.isfile(os.path.join(path, MANIFEST)) and not os.path.islink(path):
            yield path


def _look_at(path: str) -> tuple[Ancestor, str] | None:
    """Return a checkpoint and the digest of its content, None for what is none."""
    try:
        with Checkpoint(path) as checkpoint:
            return _ancestor(checkpoint), checkpoint.manifest.content_digest
    except CkptError:
        return None


def _ancestor(checkpoint: Checkpoint) -> Ancestor:
    manifest = checkpoint.manifest
    points = evaluation_points(manifest.evaluation)
    return Ancestor(
        checkpoint.path,
        manifest.manifest_digest,
        manifest.lineage.kind if manifest.lineage else None,
        manifest.lineage.parent if manifest.lineage else None,
        training_step(manifest.training_info),
        points[-1][1] if points else None,
        printable(manifest.conversion.source.name) if manifest.conversion else None,
    )
