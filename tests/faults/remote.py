"""Strike at uploads into a real S3 and count what broke: `python -m tests.faults.remote [--short] [--json FILE]`.

Two writers race for one name; uploads are killed at any moment; answers are lost, requests come late, the store fails
and throttles, or ignores conditions. After each, what lies at the URL must be a checkpoint that is whole, or none that
any reader takes for one, and whoever was told of success must be the one whose checkpoint it is.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptfmt.errors import CkptError, TargetExists
from ckptfmt.share.push import push
from tests.faults.kills import Strike, kill, kinds, moments, run
from tests.faults.uploads import ROOT, Bench
from tests.remote import servers
from tests.remote.proxy import LOSE, PASS, Late, Proxy


def race(bench: Bench, rounds: int) -> Counter[str]:
    """Let two writers begin together, again and again: one wins, and its checkpoint is the one that is there."""
    found: Counter[str] = Counter()
    words = [sys.executable, "-m", "tests.faults.remote", "--racer"]
    racers = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in (1, 2)
    ]
    for number in range(rounds):
        url = bench.url()
        # In every other race the second one's files have other names: they are compressed.
        paths = bench.checkpoints[0], bench.packed if number % 2 else bench.checkpoints[1]
        # Every third race is about what a dead writer left, which both take over.
        left = number % 3 == 2
        if left:
            bench.leave_half(url)
        for racer, path in zip(racers, paths, strict=True):
            racer.stdin.write(f"{url} {int(left)} {path}\n")  # type: ignore[union-attr]
            racer.stdin.flush()  # type: ignore[union-attr]
        said = [racer.stdout.readline().strip() for racer in racers]  # type: ignore[union-attr]
        won = [seed for seed, word in enumerate(said, 1) if word == "won"]
        state = bench.state(url)
        found["rounds"] += 1
        found["taken over"] += left
        found["violations"] += [state] != won
        if [state] != won:
            print("race broken:", url, "left" if left else "new", said, state, file=sys.stderr, flush=True)
    for racer in racers:
        racer.stdin.close()  # type: ignore[union-attr]
        racer.wait()
        racer.stdout.close()  # type: ignore[union-attr]
    return found


def racer() -> None:
    """Push what is read to the URL that is read, line by line, and say whether that was won."""
    for line in sys.stdin:
        url, left, path = line.split()
        try:
            push(path, url, overwrite=left == "1")
        except CkptError as e:
            print(f"{e.code}: {e}", flush=True)
        else:
            print("won", flush=True)


def through_proxy(bench: Bench, rule: Callable[[str, str], Any]) -> tuple[int, str, int | str]:
    """Upload through a proxy that does as the rule says; return exit code, what was said, and what is there."""
    proxy = Proxy(bench.port)
    proxy.rule = rule
    url = bench.url()
    try:
        upload = bench.start(bench.checkpoints[0], url, proxy.port)
        _, said = upload.communicate(timeout=300)
    finally:
        proxy.close()
    return upload.returncode, said, bench.state(url)


def lost_answers(bench: Bench, rounds: int) -> Counter[str]:
    """Lose the answer of each put in turn, once and several times: it was done, and is no defeat."""
    found: Counter[str] = Counter()
    for number in range(rounds):
        name = ("weights.safetensors", "manifest.json", ".probe-")[number % 3]
        code, _, state = through_proxy(bench, once(name, LOSE, times=1 + number // 3 % 3))
        found["rounds"] += 1
        found["committed"] += code == 0
        found["violations"] += (code == 0) != (state == 1) or code != 0
    return found


@dataclass
class Lost(Strike):
    """Lose the answer of the request of a number."""

    def rule(self, method: str, path: str) -> Any:
        """Let a request pass, and lose the answer of the one that is waited for."""
        with self.lock:
            self.seen += 1
            return LOSE if self.seen == self.number else PASS


def each_answer(bench: Bench, rounds: int) -> Counter[str]:
    """Lose the answer of each request of each upload in turn: of puts, looks, listings, parts, copies and removals."""
    found: Counter[str] = Counter()
    for upload, number, _ in moments(bench, kinds(bench)[: max(1, min(rounds // 3, 5))], rounds):
        url = bench.url()
        code, said = run(bench, upload, url, Lost(number))
        found["rounds"] += 1
        found["committed"] += code == 0
        if code != 0 or bench.state(url) != 1:
            found["violations"] += 1
            print("lost:", upload.name, number, code, said, file=sys.stderr, flush=True)
    found["violations"] += 0
    return found


def failures(bench: Bench, rounds: int) -> Counter[str]:
    """Answer with 500, 503 and 429 (with Retry-After): done after a while, or the truth is said of what was done.

    That is a third of all requests, each commit, or all requests from one on.
    """
    found, chance = Counter[str](), random.Random(1)
    for number in range(rounds):
        rule = failing((500, 503, 429)[number % 3], number, chance)
        code, said, state = through_proxy(bench, rule)
        found["rounds"] += 1
        found["committed"] += state == 1
        found["said to be done"] += code == 0
        told = "was committed, but could not be read back" in said or "whether it was committed is not known" in said
        found["committed, and said that it may be"] += state == 1 and told
        true = state == 1 if code == 0 else state == "none" or (state == 1 and told)
        found["violations"] += not true or (code != 0 and not said.startswith("error: "))
    return found


def failing(status: int, number: int, chance: random.Random) -> Callable[[str, str], Any]:
    """Return the rule of a round: a third of the requests fails, all of them from one on, or each commit."""
    seen = Counter[str]()

    def rule(method: str, path: str) -> Any:
        is_manifest = method == "PUT" and "manifest.json" in path
        seen["all"] += 1
        seen["manifest"] += is_manifest
        if number % 5 == 3:
            return status if seen["all"] > number else PASS
        if number % 5 == 4:
            return status if is_manifest and seen["manifest"] > 1 else PASS
        return status if chance.random() < 0.3 else PASS

    return rule


def late_puts(bench: Bench, rounds: int) -> Counter[str]:
    """Let a put of a writer that died arrive when another has taken over, and committed: it changes nothing."""
    found: Counter[str] = Counter()
    for number in range(rounds):
        name = ("weights.safetensors", "manifest.json")[number % 2]
        proxy, late = Proxy(bench.port), Late()
        proxy.rule = lambda method, path, name=name, late=late: late if method == "PUT" and name in path else PASS  # type: ignore[misc]
        url = bench.url()
        upload = bench.start(bench.checkpoints[0], url, proxy.port)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not any(m == "PUT" and name in p for m, p in proxy.seen):
            time.sleep(0.02)
        upload.kill()
        upload.communicate()
        during = number % 4 >= 2
        if during:
            late.now.set()
        if not bench.names(url):
            bench.leave_half(url)
        try:
            push(bench.checkpoints[1], url, overwrite=True)
        except TargetExists:
            # Its commit was not late: it came before, and counts.
            found["violations"] += bench.state(url) != 1
        late.now.set()
        late.arrived.wait(30)
        proxy.close()
        found["rounds"] += 1
        found["arrived late"] += late.status != 0
        found["violations"] += bench.state(url) not in ((1, 2) if during else (2,))
    return found


def ignored_conditions(bench: Bench) -> Counter[str]:
    """Push to a real store that lets every put through: it is refused, and nothing is committed."""
    with servers.rclone(bench.folder / "rclone") as port:
        (bench.folder / "rclone" / "data" / "bucket").mkdir()
        upload = bench.start(bench.checkpoints[0], "s3://bucket/run", port)
        _, said = upload.communicate(timeout=120)
        left = [path.name for path in (bench.folder / "rclone" / "data" / "bucket").rglob("*") if path.is_file()]
    refused = upload.returncode == 2 and "this store does not honour conditional writes" in said
    return Counter({"rounds": 1, "refused": int(refused), "violations": int(not refused or left != [])})


def once(name: str, action: Any, times: int) -> Callable[[str, str], Any]:
    """Return a rule that does something to the first puts of an object, and lets all others through."""
    lock, left = threading.Lock(), [times]

    def rule(method: str, path: str) -> Any:
        with lock:
            if method == "PUT" and name in path and left[0]:
                left[0] -= 1
                return action
        return PASS

    return rule


def parts(bench: Bench, short: bool) -> Iterator[tuple[str, Callable[[], Counter[str]]]]:
    """Yield the name of each part, and what does it."""
    yield "races of two writers", lambda: race(bench, 6 if short else 200)
    yield "uploads killed", lambda: kill(bench, 3 if short else 90)
    yield "answers lost", lambda: lost_answers(bench, 3 if short else 27)
    yield "each answer lost", lambda: each_answer(bench, 3 if short else 90)
    yield "500, 503 and 429", lambda: failures(bench, 3 if short else 30)
    yield "puts that come late", lambda: late_puts(bench, 2 if short else 20)
    yield "a store that ignores conditions", lambda: ignored_conditions(bench)


def main() -> int:
    """Run all parts and print what was found; 0 where nothing broke."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--short", action="store_true", help="a few of each")
    options.add_argument("--json", type=Path, help="write the figures to this file")
    options.add_argument("--only", default="", help="only parts whose name contains this")
    options.add_argument("--racer", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.racer:
        racer()
        return 0
    figures = {}
    with tempfile.TemporaryDirectory(prefix="ckptfmt-faults-") as folder, servers.seaweed(Path(folder) / "s3") as port:
        bench = Bench(port, Path(folder))
        for name, do in parts(bench, chosen.short):
            if chosen.only in name:
                started = time.monotonic()
                figures[name] = dict(do())
                told = ", ".join(f"{key} {count}" for key, count in figures[name].items())
                print(f"{name:34} {told}  ({time.monotonic() - started:.0f} s)", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(any(found["violations"] for found in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
