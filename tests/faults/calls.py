"""Strike at each system call of a save that touches the target: kill, no space, I/O error, interrupt, lie."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ckptfmt.errors import CkptError
from ckptfmt.store.clean import clean, leftovers
from tests.faults.parallel import MEMORY, in_parallel
from tests.faults.scenarios import SCENARIOS, Scenario, Violation, recognised
from tests.faults.trace import Call, Run, run_fresh, run_traced

KILL = "signal=KILL"
_WRITES = {"write", "pwrite64"}
# Calls that change something; a kill at any other finds what the kill before it found.
CHANGING = {
    *_WRITES,
    "close",
    "fchmod",
    "flock",
    "fsync",
    "ftruncate",
    "linkat",
    "mkdir",
    "mkdirat",
    "openat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "unlink",
    "unlinkat",
}
_SPACE = {*_WRITES, "close", "fsync", "ftruncate", "linkat", "mkdir", "mkdirat", "openat"}
_SPACE |= {"rename", "renameat", "renameat2"}


@dataclass(slots=True)
class Tally:
    """What was tried, what was looked at, what was wrong."""

    calls: int = 0
    faults: int = 0
    states: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> "Tally":
        self.calls += other.calls
        self.faults += other.faults
        self.states += other.states
        self.violations += other.violations
        return self


def nothing() -> None:
    """Break nothing."""


def faults_of(call: Call, *, short: bool) -> list[str]:
    """Return the faults that can strike a call."""
    if short:
        return [KILL, *(["error=ENOSPC"] if call.name in _WRITES else [])] if call.name in CHANGING else []
    faults = [KILL, "error=EIO", "error=EINTR"]
    faults += ["error=ENOSPC"] if call.name in _SPACE else []
    faults += ["retval=1"] if call.name in _WRITES else []
    return faults


def strike(scenario: Scenario, *, short: bool = False, breaking: Callable[[], None] = nothing) -> Tally:
    """Strike at each call of the scenario in turn, and look afterwards, in a fresh process each time."""
    with tempfile.TemporaryDirectory(prefix="faults-", dir=MEMORY) as top:
        calls = _record(scenario, Path(top), breaking)
    if scenario.variant:
        calls = [call for call in calls if call.name in CHANGING]
    jobs = [(scenario, call, fault, breaking) for call in calls for fault in faults_of(call, short=short)]
    wrong = in_parallel(_strike_once, jobs)
    return Tally(len(calls), len(jobs), len(jobs), [text for text in wrong if text])


def _strike_once(scenario: Scenario, call: Call, fault: str, breaking: Callable[[], None]) -> str:
    with tempfile.TemporaryDirectory(prefix="faults-", dir=MEMORY) as top:
        root = Path(top) / "root"
        scenario.prepare(root)
        run = run_traced(
            lambda: (breaking(), scenario.act(root)), [*scenario.always, f"{call.name}:{fault}:when={call.nth}"]
        )
        left = [Path(one.path).name for one in leftovers(root)]
        wrong = judge(scenario, root, run)
        if not wrong and run.code == 2 and call.name in _WRITES and left:
            wrong = f"a write that failed left {left}"
    return f"{scenario.name}: {fault} at {call.name} {call.nth} ({call.text[:80]}): {wrong}" if wrong else ""


def _record(scenario: Scenario, top: Path, breaking: Callable[[], None]) -> list[Call]:
    root = top / "root"
    scenario.prepare(root)
    run = run_traced(lambda: (breaking(), scenario.act(root)), scenario.always)
    if run.code != 0:
        raise Violation(f"{scenario.name} fails without a fault: {run.said}")
    return run.calls(str(root))


def judge(scenario: Scenario, root: Path, run: Run, *, fresh: bool = True) -> str:
    """Return what is wrong after a run, "" where the promise held; look in a fresh process or in this one."""
    if run.code == 1:
        return f"no clear error but {last_line(run)}"
    if run.code == 2 and run.said.count("\n") != 1:
        return f"the error is not one line: {run.said!r}"

    def look() -> None:
        found = scenario.look(root)
        # A save that failed says so and does not keep the next one from being done.
        if found == "wrong" or (run.code == 0 and found != "new") or (run.code < 0 and found == "unordered"):
            raise Violation(f"ended with {run.code} and left {found}")
        recognised(root)
        _recover(scenario, root)

    if fresh:
        looked = run_fresh(look)
        return last_line(looked) if looked.code else ""
    try:
        look()
    except (Violation, CkptError) as e:
        return str(e)
    return ""


def last_line(run: Run) -> str:
    """Return the last line a process said."""
    return (run.said.strip().splitlines() or ["nothing"])[-1]


def _recover(scenario: Scenario, root: Path) -> None:
    """A fresh writer succeeds in spite of what was left, and nothing is left after it and a cleaning."""
    clean(root)
    scenario.look(root)
    if scenario.name in ("new", "replace", "update", "no exchange"):
        scenario.act(root)
        if scenario.look(root) != "new":
            raise Violation("the next writer did not get through")
    clean(root)
    if left := recognised(root):
        raise Violation(f"{left} are left after cleaning")


def strike_all(*, short: bool) -> dict[str, Tally]:
    """Return the tally of each scenario."""
    return {scenario.name: strike(scenario, short=short) for scenario in SCENARIOS}
