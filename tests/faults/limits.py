"""Real limits instead of injected ones: a disk that fills, a file size limit, a read-only folder, a jumping clock."""

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ckptfmt.errors import CkptError
from ckptfmt.store.clean import clean, leftovers
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.store.write import commit
from ckptfmt.store.write.lock import hold
from tests.faults.calls import Tally, last_line
from tests.faults.parallel import MEMORY
from tests.faults.scenarios import Violation, generation, managed, recognised, write, write_step
from tests.faults.trace import Run, run_fresh


def limits_work() -> str:
    """Return why file systems cannot be mounted here, "" where they can."""
    if os.geteuid() != 0:
        return "a tmpfs of 8 MB and a read-only mount need root"
    with tempfile.TemporaryDirectory(prefix="limits-") as top:
        try:
            with _tmpfs(Path(top)):
                return ""
        except subprocess.CalledProcessError as e:
            return f"no tmpfs can be mounted: {e.stderr.decode().strip()}"


@contextmanager
def _tmpfs(top: Path) -> Iterator[Path]:
    disk = top / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True, capture_output=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill_disk(*, checked: bool) -> Tally:
    """Save until 8 MB are full, and replace then; with `checked` off, the space is not looked at before."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="limits-") as top, _tmpfs(Path(top)) as disk:
        ended = None
        for number in range(12):

            def save(number: int = number) -> None:
                if not checked:
                    commit.require_space = lambda *_, **__: None
                write(disk / f"out-{number}", number)

            ended = run_fresh(save)
            tally.faults += 1
            if ended.code:
                break
        tally.add(_expect(ended, "No space left" if not checked else "free"))
        tally.add(
            _look(lambda: [_must(generation(disk / f"out-{n}") == n, f"out-{n} is not {n}") for n in range(number)])
        )
        tally.add(_look(lambda: _must(not (disk / f"out-{number}").exists(), "half a checkpoint is there")))
        tally.add(_look(lambda: _must(not leftovers(disk), "something is left")))
        full = run_fresh(lambda: write(disk / "out-0", 99, overwrite=True))
        tally.add(_expect(full, "space" if not checked else "free"))
        tally.add(_look(lambda: _must(generation(disk / "out-0") == 0, "the old one is gone")))
    return tally


def limit_files(step: int) -> Tally:
    """Limit the size of files to each of many sizes: the kernel writes a part, then refuses the rest."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="limits-", dir=MEMORY) as top:
        root = Path(top)
        write(root / "out", 1)
        for size in [*range(0, 4096, 64), *range(4096, 800_000, step)]:

            def save(size: int = size) -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
                write(root / "out", 2, overwrite=True)

            run = run_fresh(save)
            tally.faults += 1
            if run.code == 0 and size < 786_000:
                tally.violations.append(f"saved within {size} bytes")
            elif run.code:
                tally.add(_expect(run, "File too large"))
                tally.add(_look(lambda: _must(generation(root / "out") == 1, "the old one is gone")))
                tally.add(_look(lambda: _must(not leftovers(root), "something is left")))
    return tally


def read_only() -> Tally:
    """Write into a folder that is mounted read-only."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="limits-") as top:
        folder = Path(top) / "runs"
        folder.mkdir()
        write(folder / "out", 1)
        subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
            for act in (
                lambda: write(folder / "out", 2, overwrite=True),
                lambda: write(folder / "new", 2),
                lambda: CheckpointManager(folder).save(1, {}),
            ):
                tally.faults += 1
                tally.add(_expect(run_fresh(act), "Read-only file system"))
            tally.add(_look(lambda: _must(generation(folder / "out") == 1, "the old one is gone")))
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        tally.add(_look(lambda: _must(sorted(os.listdir(folder)) == ["out"], "something came into being")))
    return tally


def jump_clock() -> Tally:
    """Let leftovers be of the future and of 1970, and the clock run backwards while steps are saved."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="limits-", dir=MEMORY) as top:
        root = Path(top)
        for age in (0, 4_000_000_000):
            tally.faults += 1
            tally.add(_look(lambda age=age: _dead_and_alive(root, age)))
        clock = time.time

        def save() -> None:
            with CheckpointManager(root / "run", keep_last=2) as manager:
                for step in range(6):
                    time.time = lambda step=step: clock() - step * 1e6
                    write_step(manager, step)

        tally.faults += 6
        tally.add(_expect(run_fresh(save), ""))
        tally.add(
            _look(lambda: _must(managed(root / "run") == [5, 4], f"{managed(root / 'run')} are kept, not 5 and 4"))
        )
    return tally


def _dead_and_alive(root: Path, age: int) -> None:
    """What a dead writer left is removed whatever its age, what a living one uses is not."""
    dead, alive = root / ".dead.ckpt-stage-0123456789abcdef", root / ".alive.ckpt-stage-0123456789abcdef"
    for folder in (dead, alive):
        folder.mkdir()
        os.utime(folder, (age, age))
    parent = os.open(root, os.O_RDONLY)
    with hold(parent, "alive", where="alive"):
        os.utime(root / ".alive.ckpt-lock", (age, age))
        clean(root)
        _must(not dead.exists(), "what the dead left is there")
        _must(alive.exists(), "what the living use is gone")
    clean(root)
    _must(not recognised(root), "something is left")


def _must(good: object, sentence: str) -> None:
    if not good:
        raise Violation(sentence)


def _look(check: Callable[[], object]) -> Tally:
    try:
        check()
    except (Violation, CkptError) as e:
        return Tally(states=1, violations=[str(e)])
    return Tally(states=1)


def _expect(run: Run | None, words: str) -> Tally:
    """An error in one line that holds these words; success where there are none."""
    good = run is not None and (
        run.code == 2 and words in run.said and run.said.count("\n") == 1 if words else run.code == 0
    )
    return Tally(states=1, violations=[] if good else [f"expected '{words}', got {run and last_line(run)}"])
