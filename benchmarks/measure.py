"""Measure two pieces of work side by side: A B A B, medians, spread, ratio."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Comparison", "Cost", "Result", "compare", "compare_processes", "run", "timed"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one execution took: seconds on the clock and of the processors, peak memory in MB (0: not known)."""

    seconds: float
    cpu: float
    memory: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """The costs of ours and theirs, taken in turns."""

    ours: tuple[Cost, ...]
    theirs: tuple[Cost, ...]

    @classmethod
    def of(cls, sides: dict[str, list[dict[str, float]]]) -> "Comparison":
        """Return the comparison that another process wrote as JSON."""
        return cls(*(tuple(Cost(**cost) for cost in sides[side]) for side in ("ours", "theirs")))

    def median(self, side: str, field: str) -> float:
        """Return the median of a field over the executions of one side."""
        costs: tuple[Cost, ...] = getattr(self, side)
        return statistics.median(float(getattr(cost, field)) for cost in costs)

    @property
    def ratio(self) -> float:
        """Return ours over theirs: the median over the pairs, each of which saw the same state of the machine."""
        return statistics.median(a.seconds / b.seconds for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def spread(self) -> tuple[float, float]:
        """Return the lowest and the highest ratio of a pair."""
        ratios = [a.seconds / b.seconds for a, b in zip(self.ours, self.theirs, strict=True)]
        return min(ratios), max(ratios)

    @property
    def peak(self) -> float:
        """Return the highest memory of ours, in MB."""
        return max(cost.memory for cost in self.ours)


@dataclass(frozen=True, slots=True)
class Result:
    """One figure held against its goal; `value` must be at most `goal` (in `unit`: × of theirs, s, MB)."""

    row: int
    work: str
    against: str
    value: float
    goal: float
    unit: str = "×"
    spread: tuple[float, float] | None = None
    ours: float | None = None
    theirs: float | None = None
    ours_cpu: float | None = None
    theirs_cpu: float | None = None
    rounds: int = 1
    # GB/s of the disk, synced, right before the row was measured: disks that are shared change from hour to hour.
    disk: float | None = None

    @property
    def reached(self) -> bool:
        """Return whether the goal is met."""
        return self.value <= self.goal

    @classmethod
    def of(cls, row: int, work: str, against: str, goal: float, comparison: Comparison) -> "Result":
        """Return the ratio of a comparison against its goal."""
        return cls(
            row,
            work,
            against,
            comparison.ratio,
            goal,
            spread=comparison.spread,
            ours=comparison.median("ours", "seconds"),
            theirs=comparison.median("theirs", "seconds"),
            ours_cpu=comparison.median("ours", "cpu"),
            theirs_cpu=comparison.median("theirs", "cpu"),
            rounds=len(comparison.ours),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as it stands in the JSON."""
        return {**asdict(self), "reached": self.reached}


def compare(
    ours: Callable[[], Cost],
    theirs: Callable[[], Cost],
    rounds: int,
    before: Callable[[], None] | None = None,
) -> Comparison:
    """Do both in turns, `before` untimed before each; unless there is but one round, a first one does not count."""
    costs: list[list[Cost]] = [[], []]
    for count in range(0 if rounds > 1 else 1, rounds + 1):
        for side, work in enumerate((ours, theirs)):
            if before is not None:
                before()
            cost = work()
            if count:
                costs[side].append(cost)
    return Comparison(tuple(costs[0]), tuple(costs[1]))


def compare_processes(
    ours: Sequence[str], theirs: Sequence[str], rounds: int, before: Callable[[], None] | None = None
) -> Comparison:
    """Compare two commands, each a whole process."""
    return compare(lambda: run(ours), lambda: run(theirs), rounds, before)


def run(command: Sequence[str], *, accept: Sequence[int] = (0, 1)) -> Cost:
    """Run a command, its answer thrown away; raise where it could not do its work."""
    with open(os.devnull, "r+b") as null:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=subprocess.PIPE)
        errors = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stderr:
        process.stderr.close()
    if process.returncode not in accept:
        sys.stderr.write(errors.decode(errors="replace"))
        raise SystemExit(f"benchmarks: {' '.join(command[:4])} … ended with {process.returncode}")
    # Linux counts the peak in KiB. It counts the parent's at the fork as well: this process stays small.
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def timed(work: Callable[[], Any]) -> Cost:
    """Do something in this process and return what it took."""
    cpu = time.process_time()
    start = time.perf_counter()
    work()
    return Cost(time.perf_counter() - start, time.process_time() - cpu)
