"""The checkpoints of a run by their steps, as the folder and their manifests tell them."""

import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ckptfmt.errors import CkptError, NotACheckpoint
from ckptfmt.format.far import is_manifest
from ckptfmt.format.files import MANIFEST, open_folder, read_manifest, release
from ckptfmt.format.jsontext import excess
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import load_manifest
from ckptfmt.format.record import record
from ckptfmt.remote.address import parse
from ckptfmt.remote.url import is_url

__all__ = ["MANAGED", "Entry", "Index", "list_steps", "step_name"]

# The part of a manifest's `extra` in which a manager notes the step and the metrics of its checkpoint.
MANAGED = "manager"

# How many manifests in a store are read at once.
_TOGETHER = 16
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

    In a store, those that were committed: one listing tells.
    """
    if is_url(folder):
        return far_steps(folder)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as e:
        raise NotACheckpoint(f"cannot be listed: {e.strerror}", where=folder, code="layout.unreadable") from None
    return sorted((int(found[1]) for name in names if (found := _FORM.fullmatch(name))), reverse=True)


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
        if self._is_far:
            # Each is a request of its own, whatever is read of it.
            found = {entry.step: entry.metrics.get(metric) for entry in self.entries(unknown)}
            known |= {step: found.get(step) for step in unknown}
        else:
            known |= {step: _noted(os.path.join(self._folder, step_name(step)), step).get(metric) for step in unknown}
        return {step: value for step in steps if (value := known[step]) is not None}

    def forget(self, step: int | None = None) -> None:
        """Look at the metrics of a step anew, or of all."""
        for known in self._values.values():
            if step is None:
                known.clear()
            else:
                known.pop(step, None)

    def entries(self, steps: Iterable[int]) -> list[Entry]:
        """Return the entries of those steps whose manifest can be used and was written by a manager."""
        if self._is_far:
            steps = list(steps)
            # Each manifest is a request of its own, and most of its time is waiting.
            with ThreadPoolExecutor(_TOGETHER) as pool:
                list(pool.map(self.entry, [step for step in steps if step not in self._known]))
        return [entry for step in steps if (entry := self.entry(step)) is not None]

    def entry(self, step: int) -> Entry | None:
        """Return the entry of a step, None for what no manager wrote or whose manifest is damaged."""
        path = os.path.join(self._folder, step_name(step))
        if self._is_far:
            # What was committed to a store is not replaced.
            if step not in self._known:
                self._known[step] = (None, _read(path, step))
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
            known = self._known[step] = (state, _read(path, step))
        return known[1]


def far_steps(url: str) -> list[int]:
    """Return the steps of a run in a bucket that were committed, newest first, from one listing."""
    # The import that waits: few runs lie in a store.
    from ckptfmt.remote.bucket import BucketFolder

    folder = BucketFolder(parse(url))
    found = set()
    for name, size in folder.walk():
        step, _, file = name.partition("/")
        if file == MANIFEST and is_manifest(size) and (form := _FORM.fullmatch(step)):
            found.add(int(form[1]))
    return sorted(found, reverse=True)


def _read(path: str, step: int) -> Entry | None:
    try:
        folder = open_folder(path)
        try:
            manifest = load_manifest(folder, where=path)
        finally:
            release(folder)
    except CkptError:
        return None
    return _entry(manifest, step)


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        # A whole number beyond all floats: what it is compared with is smaller in any case.
        return math.copysign(math.inf, value > 0 or -1)


def _entry(manifest: Manifest, step: int) -> Entry | None:
    metrics = _metrics(manifest.extra, step)
    return None if metrics is None else Entry(step, metrics, manifest.content_digest, manifest.manifest_digest)


def _noted(path: str, step: int) -> dict[str, float]:
    """Return the metrics in a manifest that is not looked at otherwise; none where they cannot be read."""
    try:
        folder = open_folder(path)
        try:
            data = read_manifest(folder, where=path)
        finally:
            release(folder)
        # What no reader of ours takes would cost many times its bytes here as well.
        raw = None if excess(data) else json.loads(data)
    except (CkptError, ValueError, RecursionError):
        return {}
    return (_metrics(raw.get("extra"), step) if isinstance(raw, dict) else None) or {}


def _metrics(extra: Any, step: int) -> dict[str, float] | None:
    """Return the metrics that a manager noted of a step; None where none did."""
    noted = extra.get(MANAGED) if isinstance(extra, Mapping) else None
    if not isinstance(noted, Mapping) or noted.get("step") != step:
        return None
    metrics = noted.get("metrics")
    values = metrics.items() if isinstance(metrics, Mapping) else ()
    return {name: _number(value) for name, value in values if isinstance(value, int | float)}
