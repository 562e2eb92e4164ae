"""Ten writers and ten readers at once: no torn read, no lost update."""

import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ckptfmt.errors import CkptError
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.clean import leftovers
from ckptfmt.store.write import update_manifest
from tests.faults.calls import Tally, nothing
from tests.faults.parallel import MEMORY
from tests.faults.scenarios import generation, write

WRITERS = READERS = 10
_PATIENCE = 60.0


def crowd(*, seconds: float, breaking: Callable[[], None] = nothing) -> Tally:
    """Let half of the writers replace one checkpoint and half count up in the manifest of another."""
    with tempfile.TemporaryDirectory(prefix="crowd-", dir=MEMORY) as top:
        root = Path(top)
        write(root / "replaced", 0, small=True)
        write(root / "counted", 0, small=True)
        acts = [_replace if n % 2 else _count for n in range(WRITERS)] + [_read] * READERS
        ends = time.monotonic() + seconds
        children = [_fork(act, root, number, ends, breaking) for number, act in enumerate(acts)]
        for child in children:
            os.waitpid(child, 0)
        tally = Tally()
        for log in sorted(root.glob("log-*")):
            done, *wrong = log.read_text().split("\n")
            tally.states += int(done or 0)
            tally.faults += int(done or 0)
            tally.violations += [text for text in wrong if text]
        return tally.add(_sum_up(root))


def _sum_up(root: Path) -> Tally:
    counted = sum(int(file.read_text()) for file in root.glob("count-*"))
    with Checkpoint(root / "counted") as checkpoint:
        stored = checkpoint.manifest.extra.get("count", 0)
    tally = Tally(states=2)
    if counted != stored:
        tally.violations.append(f"{counted} updates succeeded, the manifest counts {stored}")
    if left := leftovers(root):
        tally.violations.append(f"{[Path(one.path).name for one in left]} are left")
    generation(root / "replaced")
    return tally


def _fork(act: Callable[[Path, int], str], root: Path, number: int, ends: float, breaking: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    with contextlib.suppress(BaseException):
        breaking()
        done, wrong = 0, []
        while time.monotonic() < ends:
            if text := _try(act, root, number * 1_000_000 + done):
                wrong.append(text.replace("\n", " "))
            done += 1
        (root / f"log-{number}").write_text("\n".join([str(done), *wrong]))
        code = 0
    os._exit(code)


def _try(act: Callable[[Path, int], str], root: Path, number: int) -> str:
    try:
        return act(root, number)
    except Exception as e:
        return f"{act.__name__}: {type(e).__name__}: {e}"


def _replace(root: Path, number: int) -> str:
    write(root / "replaced", number % 10_000, overwrite=True, wait=_PATIENCE, small=True)
    return ""


def _count(root: Path, number: int) -> str:
    update_manifest(
        root / "counted",
        lambda m: dataclasses.replace(m, extra={**m.extra, "count": m.extra.get("count", 0) + 1}),
        wait=_PATIENCE,
    )
    mine = root / f"count-{number // 1_000_000}"
    mine.write_text(str(int(mine.read_text()) + 1 if mine.exists() else 1))
    return ""


def _read(root: Path, number: int) -> str:
    for name in ("replaced", "counted"):
        try:
            with Checkpoint(root / name) as checkpoint:
                claimed = float(checkpoint.manifest.extra["generation"])
                for array in checkpoint.tensors.values():
                    if set(np.unique(array).tolist()) != {claimed}:
                        return f"torn read of {name}"
        except CkptError as e:
            return f"{name} could not be read: {e}"
    return ""
