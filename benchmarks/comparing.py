"""Rows 9 and 10: `ckpt diff` of two large checkpoints, against reading them."""

from benchmarks.bench import Bench, Row
from benchmarks.data import make
from benchmarks.measure import Comparison, Result, compare_processes

__all__ = ["ROWS"]

_AGAINST = "cat a b > /dev/null"
_MEMORY = 200


def _one(bench: Bench) -> list[Result]:
    both = _against_reading(bench, "one", bench.rounds(7))
    return [Result.of(9, "diff of 1 GiB each, 1 tensor of 64 differs, with numbers", _AGAINST, 1 / 4, both)]


def _all(bench: Bench) -> list[Result]:
    both = _against_reading(bench, "all", bench.rounds(5))
    work = "diff of 1 GiB each, all 64 differ, with numbers"
    return [
        Result.of(10, work, _AGAINST, 3, both),
        Result(10, f"{work}: peak memory", "", both.peak, _MEMORY, "MB", rounds=len(both.ours)),
    ]


def _against_reading(bench: Bench, other: str, rounds: int) -> Comparison:
    make("pair", bench.folder, bench.size(1024, 4))
    folders = [bench.path("a"), bench.path(other)]
    files = [f"{folder}/weights.safetensors" for folder in folders]
    both = compare_processes(bench.ckpt("diff", *folders), ["sh", "-c", 'cat "$@" > /dev/null', "sh", *files], rounds)
    bench.clean_slate("a", "one", "all")()
    return both


ROWS = (Row(9, _one), Row(10, _all))
