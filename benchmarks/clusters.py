"""Convert many files by jobs, over Dask and over MPI, one worker killed in the middle.

    python -m benchmarks.clusters FOLDER [FILES]
    mpiexec -n 3 python -m mpi4py.futures -m benchmarks.clusters FOLDER FILES mpi

FOLDER gets `old`, copies of a small file of a DQN, and one folder of checkpoints for each way. One line a way
says how long it took, what became of the files, and whether each came once.
"""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path

from ckptfmt.convert.batch import Outcome, convert_many
from ckptfmt.convert.sources import Item

SOURCE = Path(__file__).parents[1] / "fixtures" / "foreign" / "bare-state-dict" / "dqn.pth"


def pid(_: int) -> int:
    """Return the process that a worker is."""
    time.sleep(0.05)
    return os.getpid()


def make(folder: Path, count: int) -> list[str]:
    """Make the files, the same bytes under many names, and return their paths."""
    old = folder / "old"
    old.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        if not (path := old / f"{number:05}.pth").exists():
            path.write_bytes(SOURCE.read_bytes())
    return [str(old / f"{number:05}.pth") for number in range(count)]


def run(
    name: str, folder: Path, files: list[str], outcomes: Callable[[list[Item]], Iterable[Outcome]], victim: int = 0
) -> None:
    """Convert the files one way, kill a worker when half of them are done, and say what became of them."""
    items = [Item(path, str(folder / name / Path(path).stem)) for path in files]
    begin, killed, seen = time.perf_counter(), "", []
    count: Counter[str] = Counter()
    for outcome in outcomes(items):
        seen.append(outcome.item)
        count[outcome.status] += 1
        if victim and not killed and len(seen) >= len(files) // 2:
            os.kill(victim, signal.SIGKILL)
            killed = ", one worker killed"
    seconds = time.perf_counter() - begin
    whole = sum((folder / name / Path(path).stem / "manifest.json").exists() for path in files)
    left = [entry for entry in os.listdir(folder / name) if entry.startswith(".")]
    once = "each once" if seen == items else "NOT each once"
    print(
        f"{name:10} {seconds:6.1f} s  {dict(count)}, {once}, {whole:,} there, {len(left)} leftovers{killed}", flush=True
    )


def dask(folder: Path, files: list[str]) -> None:
    """Convert over a Dask cluster of two workers on this machine, with and without a kill."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        executor: Executor = client.get_executor(pure=False, retries=0)
        run("dask", folder, files, lambda items: convert_many(items, executor=executor))
        victim = executor.submit(pid, 0).result()
        run("dask-kill", folder, files, lambda items: convert_many(items, executor=executor), victim)


def mpi(folder: Path, files: list[str]) -> None:
    """Convert over the ranks of this MPI job; where a rank is killed MPI ends them all, and a second run goes on."""
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as executor:
        victim = executor.submit(pid, 0).result() if "kill" in sys.argv else 0
        name = "mpi-kill" if "again" in sys.argv or victim else "mpi"
        run(name, folder, files, lambda items: convert_many(items, executor=executor), victim)


def main() -> None:
    """Convert by the ways that are asked for."""
    folder, count = Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    files = make(folder, count)
    if "mpi" in sys.argv:
        mpi(folder, files)
        return
    run("jobs", folder, files, lambda items: convert_many(items, jobs=2))
    dask(folder, files)


if __name__ == "__main__":
    main()
