"""Strike at uploads into a real S3 and count what broke: `python -m tests.faults.remote [--short] [--json FILE]`.

Two writers race for one name; uploads are killed at any moment; answers are lost, requests come late, the store fails
and throttles, or ignores conditions. After each, what lies at the URL must be a checkpoint that is whole, or none that
any reader takes for one, and whoever was told of success must be the one whose checkpoint it is.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy

import ckptfmt
from ckptfmt.errors import CkptError, NotACheckpoint, TargetExists
from ckptfmt.remote.address import parse
from ckptfmt.remote.store import open_store
from ckptfmt.share.push import push
from tests.remote import servers
from tests.remote.proxy import LOSE, PASS, Late, Proxy

ROOT = Path(__file__).resolve().parent.parent.parent


def environment(port: int) -> dict[str, str]:
    """Return what points the client to the S3 at a port."""
    return {
        "AWS_ACCESS_KEY_ID": servers.KEY,
        "AWS_SECRET_ACCESS_KEY": servers.SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
    }


class Bench:
    """A bucket of a running S3, checkpoints to be sent, and what was found so far."""

    def __init__(self, port: int, folder: Path, megabytes: int = 4) -> None:
        self.port, self.folder = port, folder
        self.bucket = f"s3://faults{os.urandom(4).hex()}"
        os.environ.update(environment(port))
        open_store(parse(self.bucket)).put("made", b"", "tests")
        self.checkpoints = [self._make(seed, megabytes) for seed in (1, 2)]
        # Over the size up to which a file is sent by one put.
        self.large = self._make(1, 40, "large")

    def _make(self, seed: int, megabytes: int, name: str = "checkpoint") -> Path:
        path, numbers = self.folder / f"{name}-{seed}", numpy.random.default_rng(seed)
        tensors = {f"t{i}": numbers.standard_normal((megabytes << 20) // 32, "f4") for i in range(8)}
        ckptfmt.save(path, tensors, training_info={"step": seed}).close()
        return path

    def url(self) -> str:
        """Return a URL where nothing is."""
        return f"{self.bucket}/{os.urandom(6).hex()}"

    def start(self, path: Path, url: str, port: int | None = None) -> subprocess.Popen[str]:
        """Start an upload in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ckptfmt", "push", str(path), url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment(port or self.port)},
        )

    def state(self, url: str) -> int | str:
        """Return whose checkpoint lies at a URL, whole; else "none" or "broken"."""
        try:
            report = ckptfmt.validate(url)
        except NotACheckpoint:
            return "none"
        if not report.valid:
            return f"broken: {report.problems[0].code}"
        with ckptfmt.open(url) as checkpoint:
            return int(checkpoint.training_info["step"])


def race(bench: Bench, rounds: int) -> Counter[str]:
    """Let two writers begin together, again and again: one wins, and its checkpoint is the one that is there."""
    found: Counter[str] = Counter()
    words = [sys.executable, "-m", "tests.faults.remote", "--racer"]
    racers = [
        subprocess.Popen([*words, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for path in bench.checkpoints
    ]
    for number in range(rounds):
        url = bench.url()
        # Every third race is about what a dead writer left, which both take over.
        left = number % 3 == 2
        if left:
            place = parse(url)
            open_store(place).put(f"{place.key}/weights.safetensors", b"half", "dead")
        for racer in racers:
            racer.stdin.write(f"{url} {int(left)}\n")  # type: ignore[union-attr]
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


def racer(path: str) -> None:
    """Push to each URL that is read, and say whether that was won."""
    for line in sys.stdin:
        url, left = line.split()
        try:
            push(path, url, overwrite=left == "1")
        except CkptError as e:
            print(f"{e.code}: {e}", flush=True)
        else:
            print("won", flush=True)


def kill(bench: Bench, rounds: int) -> Counter[str]:
    """Kill uploads at any moment, by kill -9 and by Ctrl-C; what is left is taken over by another."""
    found, chance = Counter[str](), random.Random(0)
    for number in range(rounds):
        url = bench.url()
        large = number % 3 == 0
        upload = bench.start(bench.large if large else bench.checkpoints[0], url)
        wait_for_upload(bench, url, time.monotonic() + 20)
        time.sleep(chance.random() * (1.2 if large else 0.03))
        upload.send_signal(signal.SIGINT if number % 6 == 5 else signal.SIGKILL)
        upload.communicate()
        state = bench.state(url)
        names = [key for key, _ in open_store(parse(url)).list(parse(url).key)]
        found["whole" if state == 1 else "left half" if names else "nothing"] += 1
        found["violations"] += state not in (1, "none")
        if state == "none":
            push(bench.checkpoints[1], url, overwrite=True)
            found["taken over"] += 1
            found["violations"] += bench.state(url) != 2
        found["rounds"] += 1
    return found


def wait_for_upload(bench: Bench, url: str, deadline: float) -> None:
    """Wait until an upload has begun: it asks the store for conditions, or has put something."""
    place = parse(url)
    while time.monotonic() < deadline:
        if any(key.startswith((".probe", f"{place.key}/")) for key, _ in open_store(place).list("")):
            return
        time.sleep(0.002)


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


def failures(bench: Bench, rounds: int) -> Counter[str]:
    """Answer with 500, 503 and 429, some of the requests or all of one kind: done after a while, or said not to be."""
    found, chance = Counter[str](), random.Random(1)
    for number in range(rounds):
        status = (500, 503, 429)[number % 3]
        for_ever = number % 5 == 4

        def rule(method: str, path: str, status: int = status, for_ever: bool = for_ever) -> Any:
            if for_ever:
                return status if method == "PUT" and "manifest.json" in path else PASS
            return status if chance.random() < 0.3 else PASS

        code, said, state = through_proxy(bench, rule)
        found["rounds"] += 1
        found["committed"] += code == 0
        found["violations"] += (code == 0) != (state == 1) or (code != 0 and not said.startswith("error: "))
    return found


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
        place = parse(url)
        if not any(True for _ in open_store(place).list(place.key)):
            open_store(place).put(f"{place.key}/weights.safetensors", b"half", "dead")
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
    yield "500, 503 and 429", lambda: failures(bench, 3 if short else 30)
    yield "puts that come late", lambda: late_puts(bench, 2 if short else 20)
    yield "a store that ignores conditions", lambda: ignored_conditions(bench)


def main() -> int:
    """Run all parts and print what was found; 0 where nothing broke."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--short", action="store_true", help="a few of each")
    options.add_argument("--json", type=Path, help="write the figures to this file")
    options.add_argument("--only", default="", help="only parts whose name contains this")
    options.add_argument("--racer", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.racer:
        racer(chosen.racer)
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
