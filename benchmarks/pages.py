"""Row 17: the pages, of one checkpoint, of a large one and of a folder of thousands."""

import json
import os
import sys
import time
from typing import Any

from benchmarks.bench import Bench, Row
from benchmarks.data import make
from benchmarks.measure import Result, compare_processes, run

__all__ = ["ROWS"]

_MEGABYTE = 1e6


def _pages(bench: Bench) -> list[Result]:
    make("network", source := bench.path("dqn.pth"))
    run(bench.ckpt("convert", "--quiet", source, one := bench.path("one")))
    page = bench.path("one.html")
    ours = bench.ckpt("report", one, "-o", page, "--force")
    both = compare_processes(ours, bench.ckpt("validate", one), bench.rounds(9))
    size = os.path.getsize(page) / _MEGABYTE
    make("large", source := bench.path("large.pth"), bench.size(1024, 4))
    run(bench.ckpt("convert", "--quiet", "--architecture", "none", source, big := bench.path("big")))
    memory = run(bench.ckpt("report", big, "-o", bench.path("big.html"))).memory
    make("run_folder", many := bench.path("many"), bench.size(10_000, 20))
    found = bench.answer("pages", many)
    return [
        Result.of(17, "ckpt report, 6.7 MB, whole process", "ckpt validate", 2, both),
        Result(17, "ckpt report, 6.7 MB: size of the page", "", size, 0.3, "MB"),
        Result(17, "ckpt report of 1 GiB: peak memory", "", memory, 200, "MB"),
        Result(17, "first page of ckpt serve over 10,000 checkpoints, the first time", "", found["cold"], 1, "s"),
        Result(17, "first page of ckpt serve over 10,000 checkpoints, after that", "", found["warm"], 0.1, "s"),
    ]


ROWS = (Row(17, _pages),)


def serve(folder: str) -> dict[str, Any]:
    """Time the first page of a site that has seen nothing of the folder yet, and the median of nine after it."""
    from ckptfmt.web.index import Index
    from ckptfmt.web.pages import Pages

    pages, times = Pages(Index(folder)), []
    for _ in range(10):
        begin = time.perf_counter()
        html, _ = pages.overview(query={})
        html()
        times.append(time.perf_counter() - begin)
    return {"cold": times[0], "warm": sorted(times[1:])[4]}


if __name__ == "__main__":
    json.dump(serve(sys.argv[1]), sys.stdout)
