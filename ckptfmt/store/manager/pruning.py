"""Remove the checkpoints of a run that nothing keeps any more."""

import itertools
import os
from collections.abc import Iterator, Sequence

from ckptfmt.errors import CkptError, Locked, Problem, printable
from ckptfmt.remote.ahead import ahead
from ckptfmt.remote.url import is_url
from ckptfmt.store.clean import clean
from ckptfmt.store.manager.retention import Retention, order
from ckptfmt.store.manager.steps import Entry, Index, step_name
from ckptfmt.store.write import remove_checkpoint

__all__ = ["Pruning"]


class Pruning:
    """What is removed from the folder of a run; what must stay against the rule is said once, in a `Problem`."""

    def __init__(self, folder: str, retention: Retention, index: Index) -> None:
        self._folder = folder
        self._is_far = is_url(folder)
        self._retention = retention
        self._index = index
        self._cleaned = False
        self._unranked = False
        self._kept: set[int] = set()
        # The steps that went, until somebody takes note of them.
        self.removed: set[int] = set()

    def clean_once(self) -> None:
        """Remove what a run that died has left: nobody writes its steps again."""
        if not self._cleaned and not self._is_far:
            self._cleaned = True
            clean(self._folder, deep=False)

    def prune(self, steps: Sequence[int]) -> Iterator[Problem]:
        """Remove what is superfluous of `steps`, given newest first; yield what is worth knowing of those that stay."""
        if not self._retention.is_given:
            return
        newest = self._newest(steps)
        older = self._retention.not_due(step for step in reversed(steps) if not newest or step < newest[-1])
        best = self._best(steps)
        if self._retention.best and not best:
            yield from self._say_unranked(newest, older)
            return
        each = ahead if self._is_far else map
        yield from filter(None, each(self._remove, self._superfluous(newest, best, older)))

    def _superfluous(self, newest: Sequence[int], best: Sequence[int], older: Sequence[int]) -> list[Entry]:
        """Return what goes, oldest first: of thousands only the manifests of those that decide are read."""
        if not self._retention.best:
            return self._index.entries(older) if newest else []
        # Metrics that were looked at once may be older than the file, those of entries are not: these decide.
        return self._retention.superfluous(self._index.entries(sorted({*newest, *best, *older})))

    def _say_unranked(self, newest: Sequence[int], older: Sequence[int]) -> Iterator[Problem]:
        """Yield once, when the best would decide what goes, that all stay since none has the metric."""
        if self._unranked or not older:
            return
        self._unranked = True
        metric = printable(self._retention.metric, 60)
        known = sorted({printable(name, 60) for entry in self._index.entries(newest) for name in entry.metrics})[:5]
        fix = f"name one that they have: {', '.join(known)}" if known else f"save with metrics={{'{metric}': ...}}"
        what = f"no checkpoint has the metric '{metric}', so which are the best is not known; all stay"
        yield Problem("manager.metric", self._folder, what, fix, "warning")

    def _newest(self, steps: Sequence[int]) -> list[int]:
        """Return the newest that are kept; one whose manifest is damaged or not there does not count."""
        rest, newest, wanted = iter(steps), list[int](), self._retention.last or 1
        while len(newest) < wanted and (part := list(itertools.islice(rest, wanted - len(newest)))):
            newest += [entry.step for entry in self._index.entries(part)]
        return newest

    def _best(self, steps: Sequence[int]) -> list[int]:
        """Return the best whose manifest can be used; none where none are asked for."""
        if not self._retention.best:
            return []
        values = self._index.values(steps, self._retention.metric)
        usable = (step for step in order(values, self._retention.mode) if self._index.entry(step) is not None)
        return list(itertools.islice(usable, self._retention.best))

    def _remove(self, entry: Entry) -> Problem | None:
        path = os.path.join(self._folder, step_name(entry.step))
        try:
            remove_checkpoint(path, digest=entry.manifest_digest)
            self.removed.add(entry.step)
        except Locked:
            # A checkpoint that somebody writes stays until the next time.
            return None
        except CkptError as e:
            if entry.step not in self._kept:
                self._kept.add(entry.step)
                return Problem("manager.kept", path, f"{e.what}; it stays", e.fix, "warning")
        return None
