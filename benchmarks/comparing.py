"""Rows 9 and 10: `ckpt diff` of two large checkpoints, against reading them."""

from benchmarks.bench import Bench, Row, forget
from benchmarks.data import make
from benchmarks.measure import Comparison, Result, compare_processes

__all__ = ["ROWS"]

_AGAINST = "cat a b > /dev/null"
_MEMORY = 200


def _one(bench: Bench) -> list[Result]:
    work = "diff of 1 GiB each, 1 tensor of 64 differs, with numbers"
    found = _against_reading(bench, "one", bench.rounds(7))
    return [Result.of(9, f"{work}, {state}", _AGAINST, 1 / 4, both) for state, both in found.items()]


def _all(bench: Bench) -> list[Result]:
    work = "diff of 1 GiB each, all 64 differ, with numbers"
    found = _against_reading(bench, "all", bench.rounds(5))
    peak = max(both.peak for both in found.values())
    return [
        *(Result.of(10, f"{work}, {state}", _AGAINST, 3, both) for state, both in found.items()),
        Result(10, f"{work}: peak memory", "", peak, _MEMORY, "MB", rounds=2 * bench.rounds(5)),
    ]


def _against_reading(bench: Bench, other: str, rounds: int) -> dict[str, Comparison]:
    """Compare with the files on the disk alone, and with both in the page cache."""
    make("pair", bench.folder, bench.size(1024, 4))
    folders = [bench.path("a"), bench.path(other)]
    files = [f"{folder}/weights.safetensors" for folder in folders]
    ours, theirs = bench.ckpt("diff", *folders), ["sh", "-c", 'cat "$@" > /dev/null', "sh", *files]
    return {
        "from the disk": compare_processes(ours, theirs, rounds, lambda: forget(files)),
        "from the page cache": compare_processes(ours, theirs, rounds),
    }


ROWS = (Row(9, _one), Row(10, _all))
