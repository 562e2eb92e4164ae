"""Which checkpoints of a run are kept: any reason suffices."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ckptfmt.format.record import record
from ckptfmt.store.manager.steps import Entry

__all__ = ["Retention", "order", "ranked"]


@record(kw_only=True)
class Retention:
    """Keep the `last` newest, the `best` by `metric` and those whose step is a multiple of `every`.

    A checkpoint that meets one of them is kept; where none of them is given, everything is, and where the best
    cannot be told, since none has the metric. The newest is always kept, whatever the others say.
    """

    last: int | None = None
    best: int | None = None
    every: int | None = None
    metric: str = "reward"
    mode: Literal["max", "min"] = "max"

    def __post_init__(self) -> None:
        for name in ("last", "best", "every"):
            count = getattr(self, name)
            # To keep no best one is a choice; to keep no newest one would remove what was just saved.
            if count is not None and count < (0 if name == "best" else 1):
                raise ValueError(f"{name} is {count}, it must be at least {0 if name == 'best' else 1}")
        if self.mode not in ("max", "min"):
            raise ValueError(f"mode is {self.mode!r}, it must be 'max' or 'min'")

    @property
    def is_given(self) -> bool:
        """Return whether there is a reason to remove anything."""
        return self.last is not None or self.best is not None or self.every is not None

    def not_due(self, steps: Iterable[int]) -> list[int]:
        """Return the steps that are no multiple of `every`."""
        return [step for step in steps if self.every is None or step % self.every]

    def superfluous(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries that no reason keeps, oldest first."""
        if not self.is_given:
            return []
        by_step = sorted(entries, key=lambda entry: entry.step)
        best = ranked(by_step, self.metric, self.mode)[: self.best or 0]
        if self.best and not best:
            return []
        kept = {entry.step for entry in by_step[-(self.last or 1) :]}
        kept |= {entry.step for entry in best}
        if self.every is not None:
            kept |= {entry.step for entry in by_step if entry.step % self.every == 0}
        return [entry for entry in by_step if entry.step not in kept]


def ranked(entries: Sequence[Entry], metric: str, mode: str) -> list[Entry]:
    """Return the entries that have the metric, in the order of `order`."""
    by_step = {entry.step: entry for entry in entries if metric in entry.metrics}
    return [by_step[step] for step in order({step: entry.metrics[metric] for step, entry in by_step.items()}, mode)]


def order(values: Mapping[int, float], mode: str) -> list[int]:
    """Return steps by their values, best first; of equals the newer one comes first.

    What is not finite is worst in either mode: it is what a training that diverged measures.
    """
    sign = 1 if mode == "max" else -1

    def place(step: int) -> tuple[bool, float, int]:
        number = values[step]
        # A whole number is finite, also one that is beyond every float.
        finite = isinstance(number, int) or math.isfinite(number)
        return finite, sign * number if finite else 0, step

    return sorted(values, key=place, reverse=True)
