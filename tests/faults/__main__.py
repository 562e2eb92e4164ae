"""Strike at saves in every way we know, and count what broke: `python -m tests.faults [--short] [--json FILE]`.

Ends with 0 where nothing broke, 1 where something did. What this machine cannot do is skipped and said.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.broken import BREAKS
from tests.faults.calls import Tally, strike
from tests.faults.crowd import crowd
from tests.faults.flips import flip_bits
from tests.faults.limits import fill_disk, jump_clock, limit_files, limits_work, read_only
from tests.faults.neighbours import neighbours
from tests.faults.power import cut_power, power_works
from tests.faults.ranks import strike_ranks
from tests.faults.replay import replay
from tests.faults.scenarios import SCENARIOS
from tests.faults.trace import strace_works

Part = tuple[str, str, Callable[[], Tally]]
_SHORT = ("new", "replace", "compressed")
_BROKEN = "broken on purpose"


def parts(short: bool, trace: str, power: str, limits: str) -> list[Part]:
    """Return (name, why it is skipped, what to do) of each part of the suite."""
    chosen = [scenario for scenario in SCENARIOS if not short or scenario.name in _SHORT]
    struck: list[Part] = [(f"calls: {s.name}", trace, lambda s=s: strike(s, short=short)) for s in chosen]
    struck += [(f"power cuts: {s.name}", trace or power, lambda s=s: cut_power(s, short=short)) for s in chosen]
    struck += [
        (f"model: {s.name}", trace, lambda s=s: replay(s, short=short)) for s in chosen if s.name != "no renames"
    ]
    struck += [
        ("bit flips", "", lambda: flip_bits(every=8 if short else 1)),
        ("a hostile neighbour", "", lambda: neighbours(every=48 if short else 3)),
        ("ten writers, ten readers", "", lambda: crowd(seconds=5 if short else 60)),
        ("file size limit", "", lambda: limit_files(200_000 if short else 20_000)),
        ("four ranks", "", lambda: strike_ranks(short=short)),
        ("jumping clock", "", jump_clock),
        ("disk fills, space checked", limits, lambda: fill_disk(checked=True)),
        ("disk fills, space not checked", limits, lambda: fill_disk(checked=False)),
        ("read-only folder", limits, read_only),
    ]
    return struck


def main() -> int:
    """Run the suite and print what it found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--short", action="store_true", help="the form for every change: under 90 seconds")
    options.add_argument("--json", type=Path, help="write the figures to this file")
    options.add_argument("--only", help="only parts whose name contains this")
    chosen = options.parse_args()
    started = time.monotonic()
    trace = strace_works()
    power, limits = power_works(), limits_work()
    figures = [_run(part) for part in parts(chosen.short, trace, power, limits) if (chosen.only or "") in part[0]]
    figures += [
        _break(name, trace or (power if "model" not in name else ""))
        for name in BREAKS
        if (chosen.only or "") in f"{_BROKEN}: {name}"
    ]
    seconds = time.monotonic() - started
    if chosen.json:
        chosen.json.write_text(json.dumps({"seconds": round(seconds), "parts": figures}, indent=1) + "\n")
    return _sum_up(figures, seconds)


def _run(part: Part) -> dict[str, object]:
    name, skipped, do = part
    if skipped:
        print(f"{name:45} skipped: {skipped}", flush=True)
        return {"name": name, "skipped": skipped}
    started = time.monotonic()
    tally = do()
    seconds = time.monotonic() - started
    print(
        f"{name:45} calls {tally.calls:5,}  faults {tally.faults:6,}  states {tally.states:6,}"
        f"  violations {len(tally.violations):3}  {seconds:5.1f} s",
        flush=True,
    )
    for text in tally.violations[:5]:
        print(f"    {text}", flush=True)
    return _figures(name, tally, bool(tally.violations))


def _break(name: str, skipped: str) -> dict[str, object]:
    shown = f"{_BROKEN}: {name}"
    if skipped:
        print(f"{shown:45} skipped: {skipped}", flush=True)
        return {"name": shown, "skipped": skipped}
    breaking, look = BREAKS[name]
    tally = look(breaking)
    found = len(tally.violations)
    print(f"{shown:45} {'found' if found else 'NOT FOUND'}: {found} violations of {tally.states:,} states", flush=True)
    return _figures(shown, tally, not found)


def _figures(name: str, tally: Tally, wrong: bool) -> dict[str, object]:
    counts = {"calls": tally.calls, "faults": tally.faults, "states": tally.states}
    return {"name": name, **counts, "violations": len(tally.violations), "wrong": wrong}


def _sum_up(figures: list[dict[str, object]], seconds: float) -> int:
    run = [one for one in figures if "skipped" not in one and not str(one["name"]).startswith(_BROKEN)]
    broken = [one for one in figures if "skipped" not in one and str(one["name"]).startswith(_BROKEN)]
    calls, faults, states, violations = (
        sum(int(str(one[key])) for one in run) for key in ("calls", "faults", "states", "violations")
    )
    found = sum(not one["wrong"] for one in broken)
    skipped = sum("skipped" in one for one in figures)
    print(
        f"\n{calls:,} system calls struck at, {faults:,} faults tried, {states:,} states checked, "
        f"{violations:,} violations; {found} of {len(broken)} broken protocols found; "
        f"{skipped} parts skipped; {seconds:.0f} s"
    )
    return 1 if any(one.get("wrong") for one in figures) else 0


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    sys.exit(main())
