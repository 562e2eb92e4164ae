"""Kill uploads before and after each of their requests, and let another take over what is left."""

import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckptfmt.errors import TargetExists
from ckptfmt.share.push import push
from tests.faults.uploads import Bench
from tests.remote.proxy import DROP, PASS, Proxy

__all__ = ["Strike", "Upload", "kill", "kinds", "moments", "run"]


@dataclass
class Strike:
    """Kill an upload when its request of a number comes, which then arrives at the store or does not."""

    number: int = 0
    arrives: bool = False
    by: signal.Signals = signal.SIGKILL
    upload: subprocess.Popen[str] | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: int = 0

    def rule(self, method: str, path: str) -> Any:
        """Let a request pass, but for the one that is waited for."""
        with self.lock:
            self.seen += 1
            if self.seen != self.number:
                return PASS
        self.ready.wait(10)
        assert self.upload is not None
        self.upload.send_signal(self.by)
        if self.by == signal.SIGKILL:
            self.upload.wait()
        return PASS if self.arrives else DROP


@dataclass(frozen=True)
class Upload:
    """An upload: what is sent, and whether it takes over what another left."""

    name: str
    path: Path
    takes_over: bool = False


def kinds(bench: Bench) -> tuple[Upload, ...]:
    """Return the uploads that are killed, each different in its requests."""
    small, large, several = bench.checkpoints[0], bench.large, bench.several
    return (
        Upload("one file", small),
        Upload("three files", several),
        Upload("a large file", large),
        Upload("three files, taking over", several, takes_over=True),
        Upload("a large file, taking over", large, takes_over=True),
    )


def kill(bench: Bench, rounds: int) -> Counter[str]:
    """Kill uploads at moments all over them, one in six by Ctrl-C; what is left is taken over by another."""
    found: Counter[str] = Counter()
    uploads = kinds(bench)[: max(1, min(rounds // 3, 5))]
    for upload, number, arrives in moments(bench, uploads, rounds):
        url = bench.url()
        by = signal.SIGINT if found["rounds"] % 6 == 5 else signal.SIGKILL
        strike = Strike(number, arrives, by)
        run(bench, upload, url, strike)
        state, names = bench.state(url), bench.names(url)
        found["whole" if state == 1 else "left half" if names else "nothing"] += 1
        found["by Ctrl-C"] += by == signal.SIGINT
        found["violations"] += state not in (1, "none")
        try:
            push(bench.checkpoints[1], url, overwrite=True)
            found["taken over"] += bool(names)
            found["violations"] += state == 1 or bench.state(url) != 2
        except TargetExists:
            found["violations"] += state != 1 or bench.state(url) != 1
        found["rounds"] += 1
    return found


def moments(bench: Bench, uploads: tuple[Upload, ...], rounds: int) -> Iterator[tuple[Upload, int, bool]]:
    """Yield moments spread evenly over the requests of each upload: before the n-th arrives, and after."""
    for place, upload in enumerate(uploads):
        quiet = Strike()
        run(bench, upload, bench.url(), quiet)
        share = rounds // len(uploads) + (place < rounds % len(uploads))
        for step in range(share):
            moment = (2 * step + 1) * quiet.seen // share  # of 2 * seen, from the middle of each part
            yield upload, moment // 2 + 1, moment % 2 == 1


def run(bench: Bench, upload: Upload, url: str, strike: Strike) -> tuple[int, str]:
    """Run an upload through a proxy, and strike at it; return its exit code and what it said."""
    if upload.takes_over:
        bench.leave_half(url)
    proxy = Proxy(bench.port)
    proxy.rule = strike.rule
    try:
        strike.upload = bench.start(upload.path, url, proxy.port, *(["--force"] if upload.takes_over else []))
        strike.ready.set()
        _, said = strike.upload.communicate()
    finally:
        proxy.close()
    return strike.upload.returncode, said
