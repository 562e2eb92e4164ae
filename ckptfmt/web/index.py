"""The checkpoints of a folder by name, found without reading them, their manifests read when a page shows them."""

import math
import os
import threading
from collections.abc import Iterator
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import MANIFEST
from ckptfmt.format.record import record
from ckptfmt.look.figures import evaluation_points, training_step
from ckptfmt.look.trace import TRACE, open_trace
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Entry", "Index", "Row"]

# Runs lie in folders of projects and sweeps, and no deeper.
_DEEPEST = 8
# A folder of more than this is no folder of runs, and is not walked to its end.
_MOST = 200_000
# Each trace is opened once, to see which network played it.
_MOST_TRACES = 1000


@record
class Entry:
    """A checkpoint: its name, which is its path below the folder, and when its folder was last changed."""

    name: str
    path: str
    changed_ns: int


@record
class Row:
    """One line of the table; `trouble` says why a checkpoint cannot be opened."""

    name: str
    trouble: str
    algorithm: str
    environment: str
    mean: float | None
    spread: float | None
    step: float | None
    parameters: int | None
    created_at: str
    parent: str

    def to_dict(self) -> dict[str, Any]:
        """Return the line as plain data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@record
class _Listing:
    """What lay in a folder when it was last changed."""

    changed_ns: int
    checkpoints: list[Entry]
    folders: list[str]
    traces: list[str]


class Index:
    """What lies in a folder, kept in memory only; nothing is ever written into the folder.

    A folder that holds checkpoints is listed again when its time of change moved, so that a request costs as
    many calls as there are such folders, however many checkpoints they hold. Links are not followed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.path.realpath(folder)
        self._lock = threading.Lock()
        self._listed: dict[str, _Listing] = {}
        self._digests: dict[str, tuple[int, str]] = {}
        self._rows: dict[str, tuple[tuple[int, int, int], Row]] = {}

    def entries(self) -> list[Entry]:
        """Return the checkpoints there are now, by name."""
        with self._lock:
            listed: dict[str, _Listing] = {}
            found = list(self._below(self.folder, 0, listed))
            self._listed = listed
        return sorted(found[:_MOST], key=lambda entry: entry.name)

    def find(self, name: str) -> Entry | None:
        """Return the checkpoint of that name; only names that were listed lead anywhere."""
        return next((entry for entry in self.entries() if entry.name == name), None)

    def trace(self, content_digest: str) -> str:
        """Return the path of the newest trace that the network of that digest played, "" for none."""
        self.entries()
        with self._lock:
            paths = [path for listing in self._listed.values() for path in listing.traces][:_MOST_TRACES]
        played = [
            (changed, path) for path in paths for changed, digest in [self._played_by(path)] if digest == content_digest
        ]
        return max(played, default=(0, ""))[1]

    def row(self, entry: Entry) -> Row:
        """Return the line of a checkpoint, read from its manifest unless that is as it was."""
        try:
            info = os.stat(os.path.join(entry.path, MANIFEST), follow_symlinks=False)
            state = (info.st_mtime_ns, info.st_ino, info.st_size)
        except OSError:
            return _trouble(entry, "is gone")
        known = self._rows.get(entry.name)
        if known and known[0] == state:
            return known[1]
        row = _read_row(entry)
        self._rows[entry.name] = (state, row)
        return row

    def _played_by(self, path: str) -> tuple[int, str]:
        """Return when a trace was changed, and the digest of the network that played it, "" where it is none."""
        try:
            changed = os.stat(path, follow_symlinks=False).st_mtime_ns
        except OSError:
            return 0, ""
        if self._digests.get(path, (-1, ""))[0] != changed:
            try:
                with open_trace(path) as trace:
                    self._digests[path] = (changed, trace.told.content_digest)
            except CkptError:
                self._digests[path] = (changed, "")
        return self._digests[path]

    def _below(self, folder: str, depth: int, listed: dict[str, "_Listing"]) -> Iterator[Entry]:
        try:
            changed = os.stat(folder, follow_symlinks=False).st_mtime_ns
        except OSError:
            return
        known = self._listed.get(folder)
        if known is None or known.changed_ns != changed:
            known = self._list(folder, changed)
        listed[folder] = known
        yield from known.checkpoints
        for below in known.folders if depth < _DEEPEST else ():
            yield from self._below(below, depth + 1, listed)

    def _list(self, folder: str, changed_ns: int) -> "_Listing":
        """Return the checkpoints that lie in a folder, the folders in it that are none, and the traces."""
        checkpoints, others, traces = [], [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(TRACE) and entry.is_file(follow_symlinks=False):
                        traces.append(entry.path)
                    if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
                        continue
                    if os.path.lexists(os.path.join(entry.path, MANIFEST)):
                        name = os.path.relpath(entry.path, self.folder)
                        checkpoints.append(Entry(name, entry.path, entry.stat(follow_symlinks=False).st_mtime_ns))
                    else:
                        others.append(entry.path)
        except OSError:
            pass
        return _Listing(changed_ns, checkpoints, sorted(others), traces)


def _read_row(entry: Entry) -> Row:
    try:
        with Checkpoint(entry.path) as checkpoint:
            return _row(entry, checkpoint)
    except CkptError as e:
        return _trouble(entry, e.what)


def _row(entry: Entry, checkpoint: Checkpoint) -> Row:
    manifest = checkpoint.manifest
    points = evaluation_points(manifest.evaluation)
    return Row(
        name=entry.name,
        trouble="",
        algorithm=manifest.architecture.title if manifest.architecture else "unknown",
        environment=printable(manifest.environment.get("id") or (manifest.config or {}).get("game") or "", 60),
        mean=points[-1][1] if points else None,
        spread=points[-1][2] if points else None,
        step=training_step(manifest.training_info),
        parameters=sum(math.prod(tensor.shape) for tensor in manifest.weights.tensors.values()),
        created_at=manifest.created_at,
        parent=manifest.lineage.parent or "" if manifest.lineage else "",
    )


def _trouble(entry: Entry, what: str) -> Row:
    return Row(entry.name, printable(what, 200), "", "", None, None, None, None, "", "")
