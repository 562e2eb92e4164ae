"""Where checkpoints came from: parents found by their digests among the checkpoints of folders, offline."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import MANIFEST, open_near, release
from ckptfmt.look.figures import evaluation_points, training_step
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Ancestor", "Descent", "find_checkpoints", "lineage"]

# Deeper than this nobody keeps runs, and a folder that holds itself through a mount ends somewhere.
_DEEPEST = 8
# A chain of resumes is as long as a training was interrupted; a longer one is a loop of forged digests.
_LONGEST = 10_000


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
    for folder in (given := tuple(folders)):
        # A misspelt folder would only make parents missing.
        release(open_near(folder))
    with Checkpoint(path) as checkpoint:
        nodes = [_ancestor(checkpoint)]
    around = os.path.dirname(os.path.realpath(path))
    known: dict[str, Ancestor] | None = None
    seen: set[str] = set()
    while (wanted := nodes[-1].parent) is not None and len(nodes) < _LONGEST:
        if known is None:
            known = _by_digest([around, *given])
        found = known.get(wanted)
        seen.add(nodes[-1].digest)
        nodes.append(found or Ancestor(None, wanted, None, None, None, None, None))
        if found is None or found.digest in seen:
            break
    return Descent(tuple(nodes))


def find_checkpoints(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the paths of the checkpoints in a folder and below it; links are not followed."""
    yield from _walk(os.fspath(folder), 0)


def _walk(folder: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    if any(entry.name == MANIFEST and entry.is_file(follow_symlinks=False) for entry in found):
        yield folder
        return
    for entry in found:
        if depth < _DEEPEST and entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from _walk(entry.path, depth + 1)


def _by_digest(folders: Iterable[str | os.PathLike[str]]) -> dict[str, Ancestor]:
    known: dict[str, Ancestor] = {}
    for folder in folders:
        for path in find_checkpoints(folder):
            try:
                with Checkpoint(path) as checkpoint:
                    node, content = _ancestor(checkpoint), checkpoint.manifest.content_digest
            except CkptError:
                continue
            # The digest of a manifest names one checkpoint; that of a content may be of several, of which the first
            # stays.
            known.setdefault(content, node)
            known[node.digest] = node
    return known


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
