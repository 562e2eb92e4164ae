"""The checkpoints of a run by their steps, as the folder and their manifests tell them."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ckptfmt.errors import CkptError, NotACheckpoint
from ckptfmt.format.far import is_manifest
from ckptfmt.format.files import MANIFEST, open_folder, read_manifest, release
from ckptfmt.format.freeform import decode_free
from ckptfmt.format.jsontext import excess
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import load_manifest
from ckptfmt.format.record import record
from ckptfmt.remote.address import parse
from ckptfmt.remote.ahead import ahead
from ckptfmt.remote.url import is_url

if TYPE_CHECKING:
    from ckptfmt.remote.bucket import BucketFolder

__all__ = ["MANAGED", "Entry", "Index", "list_steps", "named_steps", "step_name"]

# The part of a manifest's `extra` in which a manager notes the step and the metrics of its checkpoint.
MANAGED = "manager"

# Twelve digits are a trillion steps: until then the names sort in any file browser as the steps do.
_FORM = re.compile(r"step-(\d{12,})")


@record
class Entry:
    """A checkpoint that a manager wrote: its step, its metrics, the digests of its weights and of its manifest."""

    step: int
    metrics: Mapping[str, float]
    content_digest: str
    manifest_digest: str = ""


def step_name(step: int) -> str:
    """Return the name of the folder of a step; names sort as their steps do."""
    return f"step-{step:012d}"


def list_steps(folder: str) -> list[int]:
    """Return the steps that have a folder, newest first; an empty list where nothing was saved yet.

    In a store, those that were committed, which a listing of all that lies in them tells.
    """
    if not is_url(folder):
        return named_steps(folder)
    names = (name.rpartition("/") for name, size in _far(folder).walk() if is_manifest(size))
    return _newest_first(step for step, _, file in names if file == MANIFEST)


def named_steps(folder: str) -> list[int]:
    """Return the steps that have a folder, newest first; in a store those of unfinished uploads are among them.

    There it is one name for each, where all objects would take a store that keeps folders fifty times as long.
    """
    if is_url(folder):
        return _newest_first(_far(folder).folders())
    try:
        return _newest_first(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as e:
        raise NotACheckpoint(f"cannot be listed: {e.strerror}", where=folder, code="layout.unreadable") from None


def _newest_first(names: Iterable[str]) -> list[int]:
    return sorted((int(found[1]) for name in names if (found := _FORM.fullmatch(name))), reverse=True)


def _far(url: str) -> "BucketFolder":
    # The import that waits: few runs lie in a store.
    from ckptfmt.remote.bucket import BucketFolder

    return BucketFolder(parse(url))


class Index:
    """The entries of a folder, each manifest read once for as long as it stays the same file."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._is_far = is_url(folder)
        self._known: dict[int, tuple[object, Entry | None]] = {}
        self._values: defaultdict[str, dict[int, float | None]] = defaultdict(dict)

    def values(self, steps: Sequence[int], metric: str) -> dict[int, float]:
        """Return by step what the manifests note of a metric, each looked at once and none of them verified.

        A tenth of what an entry takes. Whoever decides by one reads the entry first.
        """
        before = self._values[metric]
        # What is not there any more is forgotten.
        known = self._values[metric] = {step: before[step] for step in steps if step in before}
        unknown = [step for step in steps if step not in known]
        look = ahead if self._is_far else map
        for step, noted in zip(unknown, look(self._noted, unknown), strict=True):
            # An upload that was not finished may be by the next time.
            if noted is not None:
                known[step] = noted.get(metric)
        return {step: value for step in steps if (value := known.get(step)) is not None}

    def forget(self, step: int | None = None) -> None:
        """Look at the metrics of a step anew, or of all; what was committed to a store is not replaced."""
        for known in self._values.values():
            if step is not None:
                known.pop(step, None)
            elif not self._is_far:
                known.clear()

    def entries(self, steps: Sequence[int]) -> list[Entry]:
        """Return the entries of those steps whose manifest can be used and was written by a manager."""
        unknown = [step for step in steps if step not in self._known] if self._is_far else []
        fresh = dict(zip(unknown, ahead(self.entry, unknown), strict=True))
        found = (fresh[step] if step in fresh else self.entry(step) for step in steps)
        return [entry for entry in found if entry is not None]

    def entry(self, step: int) -> Entry | None:
        """Return the entry of a step, None for what no manager wrote or whose manifest is damaged."""
        path = os.path.join(self._folder, step_name(step))
        if self._is_far:
            # What was committed to a store is not replaced; what was not may be there the next time.
            if step not in self._known:
                try:
                    self._known[step] = (None, _read(path, step))
                except CkptError:
                    return None
            return self._known[step][1]
        try:
            info = os.stat(os.path.join(path, MANIFEST))
        except OSError:
            self._known.pop(step, None)
            return None
        # A manifest is replaced, never written to, so a changed one is another file.
        state = (info.st_ino, info.st_size, info.st_mtime_ns)
        known = self._known.get(step)
        if known is None or known[0] != state:
            self.forget(step)
            try:
                known = (state, _read(path, step))
            except CkptError:
                known = (state, None)
            self._known[step] = known
        return known[1]

    def _noted(self, step: int) -> Mapping[str, float] | None:
        return _noted(os.path.join(self._folder, step_name(step)), step)


def _read(path: str, step: int) -> Entry | None:
    """Return the entry in a manifest, None where no manager wrote it; raise `CkptError` for one that is damaged."""
    folder = open_folder(path)
    try:
        manifest = load_manifest(folder, where=path)
    finally:
        release(folder)
    return _entry(manifest, step)


def _entry(manifest: Manifest, step: int) -> Entry | None:
    metrics = _metrics(manifest.extra, step)
    return None if metrics is None else Entry(step, metrics, manifest.content_digest, manifest.manifest_digest)


def _noted(path: str, step: int) -> Mapping[str, float] | None:
    """Return the metrics in a manifest that is not looked at otherwise; None where it cannot be read."""
    try:
        folder = open_folder(path)
        try:
            data = read_manifest(folder, where=path)
        finally:
            release(folder)
        # What no reader of ours takes would cost many times its bytes here as well.
        raw = None if excess(data) else json.loads(data)
        # Decoded as an entry's are: numbers that JSON lacks rank the same in both.
        extra = decode_free(raw.get("extra")) if isinstance(raw, dict) else None
    except (CkptError, ValueError, RecursionError):
        return None
    return _metrics(extra, step) or {}


def _metrics(extra: Any, step: int) -> dict[str, float] | None:
    """Return the metrics that a manager noted of a step; None where none did."""
    noted = extra.get(MANAGED) if isinstance(extra, Mapping) else None
    if not isinstance(noted, Mapping) or noted.get("step") != step:
        return None
    metrics = noted.get("metrics")
    values = metrics.items() if isinstance(metrics, Mapping) else ()
    return {name: value for name, value in values if isinstance(value, int | float)}
