"""Cut the power at each system call of a save: a real ext4 in a file, stopped without a flush."""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.calls import CHANGING, Tally, judge, nothing
from tests.faults.parallel import in_parallel
from tests.faults.scenarios import Scenario
from tests.faults.trace import Call, Run, run_fresh, run_traced

_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSH = struct.pack("I", 2)
# Delayed allocation, no flush of replaced files by guess, no commit while a save runs: the least ext4 promises.
_OPTIONS = "loop,noauto_da_alloc,commit=300"
_SIZE = 16 << 20


def power_works() -> str:
    """Return why power cuts cannot be tried here, "" where they can."""
    if os.geteuid() != 0:
        return "power cuts need root, for loop devices"
    if shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
        return "mkfs.ext4 is not installed"
    with tempfile.TemporaryDirectory(prefix="power-") as top:
        try:
            make_image(Path(top) / "image")
            with mounted(Path(top) / "image", Path(top) / "disk") as disk:
                cut(disk)
        except (OSError, subprocess.CalledProcessError) as e:
            return f"no ext4 can be mounted: {e}"
    return ""


def make_image(image: Path) -> None:
    """Make an empty ext4 in a sparse file."""
    with open(image, "wb") as file:
        file.truncate(_SIZE)
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, env={**os.environ, "PATH": path})


@contextmanager
def mounted(image: Path, disk: Path) -> Iterator[Path]:
    """Mount the image at `disk` while the block runs."""
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", _OPTIONS, str(image), str(disk)], check=True, capture_output=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def cut(disk: Path) -> None:
    """Stop the filesystem as a power cut does: what was not flushed, journal included, is gone."""
    folder = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, _SHUTDOWN, _WITHOUT_FLUSH)
    finally:
        os.close(folder)


def cut_power(scenario: Scenario, *, short: bool = False, breaking: Callable[[], None] = nothing) -> Tally:
    """Cut the power before each call of the scenario that touches the target, and after its end."""
    with tempfile.TemporaryDirectory(prefix="power-") as top:
        image = Path(top) / "image"
        make_image(image)
        with mounted(image, Path(top) / "disk") as disk:
            scenario.prepare(disk / "root")
            os.sync()
        calls = _record(scenario, image, breaking)
        if short or scenario.variant:
            calls = [call for call in calls if call.name in CHANGING]
        jobs = [(scenario, image, call, breaking) for call in [*calls, None]]
        wrong = in_parallel(_cut_once, jobs)
    return Tally(len(calls), len(jobs), len(jobs), [text for text in wrong if text])


def _record(scenario: Scenario, image: Path, breaking: Callable[[], None]) -> list[Call]:
    with _copied(image) as copy, mounted(copy, copy.parent / "disk") as disk:
        run = run_traced(lambda: (breaking(), scenario.act(disk / "root")), scenario.always)
    return run.calls("/disk/root")


def _cut_once(scenario: Scenario, image: Path, call: Call | None, breaking: Callable[[], None]) -> str:
    with _copied(image) as copy:
        with mounted(copy, copy.parent / "disk") as disk:
            run = _run(scenario, disk / "root", call, breaking)
            cut(disk)
        with mounted(copy, copy.parent / "disk") as disk:
            wrong = judge(scenario, disk / "root", run)
    at = f"before {call.name} {call.nth} ({call.text[:80]})" if call else "after the end"
    return f"{scenario.name}: power cut {at}: {wrong}" if wrong else ""


def _run(scenario: Scenario, root: Path, call: Call | None, breaking: Callable[[], None]) -> Run:
    def act() -> None:
        breaking()
        scenario.act(root)

    if call is None and not scenario.always:
        return run_fresh(act)
    kill = [f"{call.name}:signal=KILL:when={call.nth}"] if call else []
    return run_traced(act, [*scenario.always, *kill])


@contextmanager
def _copied(image: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="power-") as top:
        copy = Path(top) / "image"
        subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
        yield copy
