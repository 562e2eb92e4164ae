"""Rows 4 and 5: one large file, where bytes are most of the work."""

import os
import sys

from benchmarks.bench import Bench, Row
from benchmarks.data import make
from benchmarks.measure import Result, compare_processes, run

__all__ = ["ROWS"]

_MEMORY = 150
# The least that a conversion computes: the digests of the source and of what was made of it.
_TWO_HASHES = """
import hashlib, sys, threading

def digest():
    hasher = hashlib.sha256()
    with open(sys.argv[1], "rb", buffering=0) as file:
        while part := file.read(1 << 20):
            hasher.update(part)

threads = [threading.Thread(target=digest) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def _convert(bench: Bench) -> list[Result]:
    make("large", source := bench.path("large.pth"), bench.size(1024, 4))
    settle = bench.clean_slate("out", "copy")
    ours = bench.ckpt("convert", "--quiet", "--architecture", "none", source, bench.path("out"))
    copy = bench.path("copy")
    theirs = ["sh", "-c", 'cp "$1" "$2" && sync -f "$2"', "sh", source, copy]
    both = compare_processes(ours, theirs, bench.rounds(7), settle)
    hashes = [sys.executable, "-c", _TWO_HASHES, source]
    limit = compare_processes(ours, hashes, bench.rounds(5), settle)
    settle()
    os.unlink(source)
    work = "convert 1 GiB, hashed, verified, synced"
    return [
        Result.of(4, work, "cp + sync -f", 1.25, both),
        Result.of(4, work, "two SHA-256 of it at once, on two cores", 1.2, limit),
        Result(4, f"{work}: peak memory", "", both.peak, _MEMORY, "MB", rounds=len(both.ours)),
        _memory_of_more(bench, both.peak),
    ]


def _memory_of_more(bench: Bench, before: float) -> Result:
    make("large", source := bench.path("larger.pth"), bench.size(4096, 8))
    cost = run(bench.ckpt("convert", "--quiet", "--architecture", "none", source, bench.path("out")))
    bench.clean_slate("out", "larger.pth")()
    return Result(4, "convert 4 GiB: peak memory", f"{before:.0f} MB for 1 GiB", cost.memory, _MEMORY, "MB")


def _validate(bench: Bench) -> list[Result]:
    make("large", source := bench.path("large.pth"), bench.size(1024, 4))
    run(bench.ckpt("convert", "--quiet", "--architecture", "none", source, bench.path("out")))
    os.unlink(source)
    file = bench.path("out", "weights.safetensors")
    both = compare_processes(bench.ckpt("validate", bench.path("out")), ["sha256sum", file], bench.rounds(7))
    bench.clean_slate("out")()
    return [Result.of(5, "validate 1 GiB, every byte, warm", "sha256sum", 1 / 4, both)]


ROWS = (Row(4, _convert), Row(5, _validate))
