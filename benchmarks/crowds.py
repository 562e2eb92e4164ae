"""What 10 to 100,000 checkpoints in one folder cost: `python -m benchmarks.crowds FOLDER [MOST]`.

Each is a checkpoint of a manager whose weights are hard links of one file. Every operation runs in a process of its own
and says how long the first answer took, how long each checkpoint, and how much memory the process had at most.
"""

import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import ckptfmt
from ckptfmt.format.files import MANIFEST, WEIGHTS
from ckptfmt.format.manifest import Lineage
from ckptfmt.store.manager.steps import step_name

OPERATIONS = ("validate --fast", "inspect --line", "lineage", "clean", "save", "save, keep_best")

_NAMES = 10_000


def fill(folder: Path, count: int) -> None:
    """Make as many checkpoints as are wanted; those that are there stay."""
    manager = ckptfmt.CheckpointManager(folder)
    if not manager.steps():
        manager.save(0, {"w": np.zeros(64, "f4")}, metrics={"reward": 0.0})
    first = folder / step_name(0)
    with ckptfmt.open(first) as checkpoint:
        manifest = checkpoint.manifest
    parent = manifest.manifest_digest
    for step in range(1, count):
        place = folder / step_name(step)
        noted = {"manager": {"step": step, "metrics": {"reward": float(step % 997)}}}
        line = Lineage(kind="resumed", parent=parent)
        data = replace(manifest, extra=noted, lineage=line, content_digest="", manifest_digest="").sealed_bytes()
        parent = json.loads(data)["manifest_digest"]
        if place.exists():
            continue
        place.mkdir()
        # A filesystem gives one file 65,000 names at most.
        if step % _NAMES:
            os.link(folder / step_name(step - step % _NAMES) / WEIGHTS, place / WEIGHTS)
        else:
            shutil.copyfile(first / WEIGHTS, place / WEIGHTS)
        (place / MANIFEST).write_bytes(data)


def paths(folder: Path, count: int) -> Iterator[str]:
    """Yield the checkpoints that are looked at."""
    return (str(folder / step_name(step)) for step in range(count))


def answers(operation: str, folder: Path, count: int) -> Iterator[object]:
    """Do one operation, and yield each answer as it comes."""
    if operation == "validate --fast":
        yield from ckptfmt.validate_many(list(paths(folder, count)), deep=False)
    elif operation == "inspect --line":
        yield from ckptfmt.summarize_many(list(paths(folder, count)))
    elif operation == "lineage":
        from ckptfmt.look.lineage import lineage

        yield lineage(folder / step_name(count - 1))
    elif operation == "clean":
        yield ckptfmt.clean(folder)
    else:
        best = 3 if "best" in operation else None
        manager = ckptfmt.CheckpointManager(folder, keep_last=5, keep_every=1, keep_best=best)
        for extra in range(3):
            manager.save(count + extra, {"w": np.full(64, extra, "f4")}, metrics={"reward": 1.0})
            yield extra


def measure(operation: str, folder: Path, count: int) -> dict[str, float]:
    """Return seconds to the first answer and to the last one, and the peak of memory in MiB."""
    begin = time.perf_counter()
    found = answers(operation, folder, count)
    next(found)
    first = time.perf_counter() - begin
    number = 1 + sum(1 for _ in found)
    total = time.perf_counter() - begin
    rest = (total - first) / (number - 1) if number > 1 else total
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first_s": first, "total_s": total, "each_ms": rest * 1e3, "peak_mib": peak}


def main() -> None:
    """Measure each operation at each number, or one of them where its name is given."""
    folder, most = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    if len(sys.argv) > 3:
        sys.stdout.write(json.dumps(measure(sys.argv[3], folder, most)))
        return
    for count in itertools.takewhile(lambda n: n <= most, (10, 100, 1_000, 10_000, 100_000)):
        place = folder / str(count)
        place.mkdir(parents=True, exist_ok=True)
        fill(place, count)
        for operation in OPERATIONS:
            words = [sys.executable, "-m", "benchmarks.crowds", str(place), str(count), operation]
            said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            found = {name: round(value, 4) for name, value in json.loads(said).items()}
            sys.stdout.write(f"{count:7,} {operation:16} {found}\n")
            sys.stdout.flush()
            for step in range(count, count + 3):
                subprocess.run(["rm", "-rf", str(place / step_name(step))], check=True)


if __name__ == "__main__":
    main()
