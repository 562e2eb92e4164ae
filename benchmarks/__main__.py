"""Run the benchmarks and write down what came out."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks import comparing, curve, folders, large, pages, playing, saving, smaller, starting, training
from benchmarks.bench import Bench, Row
from benchmarks.chart import bars
from benchmarks.machine import describe, disk_rate, limits
from benchmarks.measure import Result
from benchmarks.table import lines

ROWS: tuple[Row, ...] = tuple(
    sorted(
        (
            *starting.ROWS,
            *large.ROWS,
            *saving.ROWS,
            *comparing.ROWS,
            *folders.ROWS,
            *training.ROWS,
            *playing.ROWS,
            *smaller.ROWS,
            *pages.ROWS,
        ),
        key=lambda row: row.number,
    )
)


def main(words: Sequence[str] | None = None) -> int:
    """Measure the rows asked for; exit 0 if all of them reached their goals, or with `--short` if they ran."""
    options = _options(words)
    os.makedirs(options.out, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ckptfmt-bench-", dir=options.folder) as folder:
        machine = describe(folder)
        print(", ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
        if options.short:
            print("short: tiny data under the names of the full rows, the figures mean nothing", flush=True)
        rates = limits(folder, 1 << 20 if options.short else 1 << 30)
        print("limits in GB/s:", ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items()), flush=True)
        results = _measure(folder, options)
        points = curve.draw(Bench(folder, options.short), rates, options.out) if options.curves else {}
    document = {
        "short": options.short,
        "machine": machine,
        "limits": rates,
        "results": [r.to_dict() for r in results],
        "curves": points,
    }
    _write(options.out, "results.json", json.dumps(document, indent=1) + "\n")
    caption = f"{machine['processor']}, {machine['cores']} cores, {machine['filesystem']}, Python {machine['python']}"
    _write(options.out, "goals.svg", bars(results, caption))
    print("\n".join(lines(results)))
    return 0 if options.short or all(result.reached for result in results) else 1


def _measure(folder: str, options: Any) -> list[Result]:
    results = []
    for row in ROWS:
        if not options.rows or row.number in options.rows:
            disk = disk_rate(folder, 1 << 20 if options.short else 64 << 20)
            with tempfile.TemporaryDirectory(prefix=f"row-{row.number}-", dir=folder) as own:
                found = [replace(result, disk=disk) for result in row.measure(Bench(own, options.short))]
            for line in lines(found)[2:]:
                print(line, flush=True)
            results += found
    return results


def _options(words: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ckptfmt beside its peers.")
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="1 to 17; all unless given")
    parser.add_argument("--short", action="store_true", help="tiny data, one round: does it run")
    parser.add_argument("--curves", action="store_true", help="also measure costs by size and by count, and draw them")
    parser.add_argument("--folder", help="where the data is made; it should lie on a disk")
    parser.add_argument("--out", default="out/benchmarks", help="where results.json and the pictures go")
    options = parser.parse_args(words)
    if unknown := sorted(set(options.rows) - {row.number for row in ROWS}):
        parser.error(f"there is no row {unknown[0]}")
    return options


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
