"""What 10 to 100,000 checkpoints cost, in a folder or in a bucket: `python -m benchmarks.crowds FOLDER_OR_URL [MOST]`.

Each is a checkpoint of a manager whose weights are those of the first one, in a folder as hard links, in a bucket put
by sixteen threads. There two bare listings stand beside the operations, of all objects and of the folders alone: what
the store itself takes. Every operation runs in a process of its own and says how long the first answer took, how long
each checkpoint, and how much memory the process had at most, as a line of JSON;
`python -m benchmarks.crowds --draw LINES SVG TITLE` makes the picture of them.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

import ckptfmt
from benchmarks.chart import curves
from ckptfmt.format.files import MANIFEST, WEIGHTS
from ckptfmt.format.manifest import Lineage, Manifest
from ckptfmt.look.lineage import ancestors
from ckptfmt.look.matching import matching
from ckptfmt.remote.url import is_url
from ckptfmt.store.manager.steps import step_name

LISTINGS = ("objects listed", "folders listed")
OPERATIONS = (*LISTINGS, "validate --fast", "inspect --line", "lineage", "clean", "latest", "save", "save, keep_best")
_NAMES = 10_000
# How many objects are put into a bucket at once.
_TOGETHER = 16


def fill(place: str, count: int) -> None:
    """Make as many checkpoints as are wanted; those that are there stay."""
    manager = ckptfmt.CheckpointManager(place)
    if not (there := set(manager.steps())):
        manager.save(0, {"w": np.zeros(64, "f4")}, metrics={"reward": 0.0})
    if len(there) >= count:
        return
    with ckptfmt.open(manager.path(0)) as checkpoint:
        manifest = checkpoint.manifest
    put = _into_bucket(place) if is_url(place) else _into_folder(Path(place))
    wanted = ((step, data) for step, data in _family(manifest, count) if step not in there)
    # In a folder one after another: a copy of the weights is made before the names that it gets.
    with ThreadPoolExecutor(_TOGETHER if is_url(place) else 1) as pool:
        while part := list(itertools.islice(wanted, 1_000)):
            list(pool.map(put, *zip(*part, strict=True)))


def _family(manifest: Manifest, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the manifest of each further step, the child of the one before."""
    parent = manifest.manifest_digest
    for step in range(1, count):
        noted = {"manager": {"step": step, "metrics": {"reward": float(step % 997)}}}
        line = Lineage(kind="resumed", parent=parent)
        data = replace(manifest, extra=noted, lineage=line, content_digest="", manifest_digest="").sealed_bytes()
        parent = json.loads(data)["manifest_digest"]
        yield step, data


def _into_folder(folder: Path):  # type: ignore[no-untyped-def]
    def put(step: int, data: bytes) -> None:
        place = folder / step_name(step)
        place.mkdir()
        # A filesystem gives one file 65,000 names at most.
        if step % _NAMES:
            os.link(folder / step_name(step - step % _NAMES) / WEIGHTS, place / WEIGHTS)
        else:
            shutil.copyfile(folder / step_name(0) / WEIGHTS, place / WEIGHTS)
        (place / MANIFEST).write_bytes(data)

    return put


def _into_bucket(url: str):  # type: ignore[no-untyped-def]
    from ckptfmt.remote.address import parse
    from ckptfmt.remote.store import open_store

    folder = parse(url)
    store = open_store(folder)
    weights, _ = store.read_all(f"{folder.key}/{step_name(0)}/{WEIGHTS}", 1 << 20)

    def put(step: int, data: bytes) -> None:
        store.put(f"{folder.key}/{step_name(step)}/{WEIGHTS}", weights, "")
        store.put(f"{folder.key}/{step_name(step)}/{MANIFEST}", data, "")

    return put


def answers(operation: str, place: str, count: int) -> Iterator[object]:
    """Do one operation, and yield each answer as it comes."""
    if operation in LISTINGS:
        from ckptfmt.remote.address import parse
        from ckptfmt.remote.bucket import BucketFolder

        folder = BucketFolder(parse(place))
        yield from folder.walk() if operation == "objects listed" else folder.folders()
    elif operation in ("validate --fast", "inspect --line"):
        paths = matching(f"{place}/step-*")
        fast = operation == "validate --fast"
        yield from ckptfmt.validate_many(paths, deep=False) if fast else ckptfmt.summarize_many(paths)
    elif operation == "lineage":
        yield from ancestors(f"{place}/{step_name(count - 1)}")
    elif operation == "clean":
        yield ckptfmt.clean(place)
    elif operation == "latest":
        yield ckptfmt.CheckpointManager(place).latest()
    else:
        best = 3 if "best" in operation else None
        manager = ckptfmt.CheckpointManager(place, keep_last=5, keep_every=1, keep_best=best)
        # In a bucket the step of a checkpoint that was removed is not written again.
        begin = count + 3 if best else count
        for extra in range(3):
            manager.save(begin + extra, {"w": np.full(64, extra, "f4")}, metrics={"reward": 1.0})
            yield extra


def measure(operation: str, place: str, count: int) -> dict[str, float]:
    """Return seconds to the first answer and to the last one, and the peak of memory in MiB."""
    begin = time.perf_counter()
    found = answers(operation, place, count)
    next(found)
    first = time.perf_counter() - begin
    number = 1 + sum(1 for _ in found)
    total = time.perf_counter() - begin
    rest = (total - first) / (number - 1) if number > 1 else total
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first_s": first, "total_s": total, "each_ms": rest * 1e3, "peak_mib": peak}


def draw(lines: Path, picture: Path, title: str) -> None:
    """Draw the seconds of each operation over the number of checkpoints; of saves those of the first one."""
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    found: dict[str, list[tuple[float, float]]] = {}
    for row in sorted(rows, key=lambda row: (OPERATIONS.index(row["operation"]), row["count"])):
        seconds = row["first_s"] if row["operation"].startswith("save") else row["total_s"]
        found.setdefault(row["operation"], []).append((row["count"], seconds))
    picture.write_text(curves(title, ("checkpoints", "seconds"), found, {}))


def main() -> None:
    """Measure each operation at each number, or one of them where its name is given; or draw."""
    if sys.argv[1] == "--draw":
        draw(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
        return
    root, most = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    if len(sys.argv) > 3:
        sys.stdout.write(json.dumps(measure(sys.argv[3], root, most)))
        return
    for count in itertools.takewhile(lambda n: n <= most, (10, 100, 1_000, 10_000, 100_000)):
        place = f"{root}/{count}"
        if not is_url(place):
            Path(place).mkdir(parents=True, exist_ok=True)
        fill(place, count)
        for operation in OPERATIONS:
            # In a bucket there is nothing to be cleaned: a writer takes over what another one left.
            if operation in (("clean",) if is_url(place) else LISTINGS):
                continue
            words = [sys.executable, "-m", "benchmarks.crowds", place, str(count), operation]
            said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            found = {name: round(value, 4) for name, value in json.loads(said).items()}
            sys.stdout.write(json.dumps({"count": count, "operation": operation, **found}) + "\n")
            sys.stdout.flush()
            if operation.startswith("save"):
                _take_back(place, count)


def _take_back(place: str, count: int) -> None:
    """Remove what a save has added."""
    from ckptfmt.store.write import remove_checkpoint

    for step in itertools.takewhile(lambda step: step >= count, ckptfmt.CheckpointManager(place).steps()):
        remove_checkpoint(f"{place}/{step_name(step)}")


if __name__ == "__main__":
    main()
