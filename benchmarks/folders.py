"""Rows 11, 12 and 15: thousands of files, where what each costs is all of the work."""

import json
import os
import shutil
import sys
from dataclasses import asdict

from benchmarks.bench import Bench, Row
from benchmarks.data import make
from benchmarks.measure import Comparison, Result, compare, compare_processes, timed

__all__ = ["ROWS"]


_FILES = "convert 1,000 files of 6.7 MB, --jobs 2"


def _convert(bench: Bench) -> list[Result]:
    _make_files(bench)
    theirs = ["cp", "-r", bench.path("old"), bench.path("copy")]
    both = compare_processes(_conversion(bench, 2), theirs, bench.rounds(3), bench.clean_slate("new", "copy"))
    bench.clean_slate("old", "new", "copy")()
    return [Result.of(11, _FILES, "cp -r", 2, both)]


def _jobs(bench: Bench) -> list[Result]:
    _make_files(bench)
    both = compare_processes(
        _conversion(bench, 2), _conversion(bench, 1), bench.rounds(3), bench.clean_slate("new", "copy")
    )
    bench.clean_slate("old", "new")()
    return [Result.of(15, _FILES, "the same with --jobs 1", 1 / 1.7, both)]


def _make_files(bench: Bench) -> None:
    make("network", first := bench.path("dqn.pth"), bench.size(512, 16))
    os.mkdir(bench.path("old"))
    for index in range(bench.size(1000, 4)):
        shutil.copyfile(first, bench.path("old", f"run-{index:04d}.pth"))


def _conversion(bench: Bench, jobs: int) -> list[str]:
    return bench.ckpt("convert", "--quiet", bench.path("old"), "--out-dir", bench.path("new"), "--jobs", str(jobs))


def _many(bench: Bench) -> list[Result]:
    make("run_folder", run := bench.path("run"), bench.size(10_000, 20))
    ours = ["sh", "-c", '"$@" "$0"/*', run, *bench.ckpt("validate", "--fast", "--quiet")]
    theirs = ["sh", "-c", 'find "$0" -type f -exec stat {} + > /dev/null', run]
    both = compare_processes(ours, theirs, bench.rounds(5))
    latest = bench.inside("folders", run, str(bench.rounds(15)))["latest"]
    bench.clean_slate("run")()
    return [
        Result.of(12, "validate --fast of 10,000 checkpoints", "stat of every file in them", 10, both),
        Result(12, "CheckpointManager.latest() among 10,000", "", latest.median("ours", "seconds"), 0.2, "s"),
    ]


ROWS = (Row(11, _convert), Row(12, _many), Row(15, _jobs))


def latest(folder: str, rounds: int) -> Comparison:
    """Time `latest()` of a manager that has seen nothing of the folder yet; theirs is to list its names."""
    import ckptfmt

    def ours() -> None:
        found = ckptfmt.CheckpointManager(folder).latest()
        assert found is not None
        found.close()

    return compare(lambda: timed(ours), lambda: timed(lambda: os.listdir(folder)), rounds)


if __name__ == "__main__":
    json.dump({"latest": asdict(latest(sys.argv[1], int(sys.argv[2])))}, sys.stdout)
