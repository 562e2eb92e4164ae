"""What work costs by size and by count, with the limits of the machine drawn in."""

import os
import shutil

from benchmarks.bench import Bench
from benchmarks.chart import curves
from benchmarks.data import make
from benchmarks.measure import run

__all__ = ["draw"]

_SIZES = (1, 4, 16, 64, 256, 1024, 4096)
_COUNTS = (1, 10, 100, 1000, 10_000)
_Line = list[tuple[float, float]]


def draw(bench: Bench, limits: dict[str, float], target: str) -> dict[str, dict[str, _Line]]:
    """Measure both and write `size.svg` and `count.svg` into `target`; return the points."""
    by_size, by_count = _by_size(bench), _by_count(bench)
    mib = (_sizes(bench)[0], _sizes(bench)[-1])
    rates = {name: [(size, size * 2**20 / 1e9 / rate) for size in mib] for name, rate in limits.items()}
    _write(target, "size", curves("Whole process, by size of the weights", ("MiB", "seconds"), by_size, rates))
    _write(target, "count", curves("Whole process, by number of checkpoints", ("checkpoints", "seconds"), by_count, {}))
    return {"size": by_size, "count": by_count}


def _sizes(bench: Bench) -> tuple[int, ...]:
    return (1, 2) if bench.short else _SIZES


def _by_size(bench: Bench) -> dict[str, _Line]:
    lines: dict[str, _Line] = {"convert": [], "validate": [], "diff, same weights": []}
    for mib in _sizes(bench):
        make("large", source := bench.path("curve.pth"), mib, 64 if mib > 1 else 16)
        for name in ("one", "two"):
            convert = bench.ckpt("convert", "--quiet", "--architecture", "none", source, bench.path(name))
            bench.clean_slate(name)()
            cost = run(convert)
        lines["convert"].append((mib, cost.seconds))
        lines["validate"].append((mib, _best(bench, bench.ckpt("validate", bench.path("one")))))
        lines["diff, same weights"].append(
            (mib, _best(bench, bench.ckpt("diff", bench.path("one"), bench.path("two"))))
        )
        bench.clean_slate("curve.pth", "one", "two")()
    return lines


def _by_count(bench: Bench) -> dict[str, _Line]:
    counts = (1, 3) if bench.short else _COUNTS
    make("run_folder", whole := bench.path("whole"), counts[-1])
    steps = sorted(os.listdir(whole))
    lines: dict[str, _Line] = {"validate": [], "validate --fast": [], "stat of every file": []}
    for count in counts:
        os.mkdir(part := bench.path("part"))
        for step in steps[:count]:
            os.rename(os.path.join(whole, step), os.path.join(part, step))
        words = ["sh", "-c", '"$@" "$0"/*', part, *bench.ckpt("validate", "--quiet")]
        lines["validate"].append((count, _best(bench, words)))
        lines["validate --fast"].append((count, _best(bench, [*words, "--fast"])))
        find = ["sh", "-c", 'find "$0" -type f -exec stat {} + > /dev/null', part]
        lines["stat of every file"].append((count, _best(bench, find)))
        for step in steps[:count]:
            os.rename(os.path.join(part, step), os.path.join(whole, step))
        os.rmdir(part)
    shutil.rmtree(whole)
    return lines


def _best(bench: Bench, command: list[str]) -> float:
    return min(run(command).seconds for _ in range(bench.rounds(3)))


def _write(target: str, name: str, picture: str) -> None:
    with open(os.path.join(target, f"{name}.svg"), "w", encoding="utf-8") as file:
        file.write(picture)
