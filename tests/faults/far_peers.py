"""The same faults for other writers into a bucket, side by side: `python -m tests.faults.far_peers [--short]`.

Needs the extra `bench`. A checkpoint is saved where nothing is, then one that is there is replaced (ours refuses that);
after each fault the old one or the new one must load with the numbers it was given. An exception counts as an error
that was said; only what can be loaded afterwards is judged, as `tests.faults.peers` does on a disk.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import s3fs
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp

import ckptfmt
from ckptfmt.errors import NotACheckpoint
from tests.remote import servers
from tests.remote.proxy import DROP, LOSE, PASS, Late, Proxy
from tests.remote.servers import s3_environment

KINDS = ("two at once", "killed", "answer lost", "500, 503, 429", "late put")
SHAPE = (192, 1024)
BUCKET = "s3://peers"
Rule = Callable[[str, str], Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """A writer: it saves a number at a URL; it loads the numbers back, None where there is nothing."""

    name: str
    save: Callable[[str, int], None]
    load: Callable[[str], "set[float] | None"]


def _tensors(number: int) -> dict[str, torch.Tensor]:
    return {"a": torch.full(SHAPE, float(number)), "b": torch.full((2, 2), float(number))}


def _numbers(tensors: Any) -> set[float]:
    return {float(value) for tensor in tensors.values() for value in numpy.unique(tensor)}


def _save_ours(url: str, number: int) -> None:
    ckptfmt.save(url, {name: tensor.numpy() for name, tensor in _tensors(number).items()}).close()


def _load_ours(url: str) -> set[float] | None:
    try:
        with ckptfmt.open(url) as checkpoint:
            checkpoint.verify()
            return _numbers(checkpoint.tensors)
    except NotACheckpoint:
        return None


def _save_file(url: str, number: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        safetensors.torch.save_file(_tensors(number), file.name)
        s3fs.S3FileSystem().put_file(file.name, url)


def _load_file(url: str) -> set[float] | None:
    files = s3fs.S3FileSystem()
    return _numbers(safetensors.torch.load(files.cat_file(url))) if files.exists(url) else None


def _save_distributed(url: str, number: int) -> None:
    dcp.save(_tensors(number), checkpoint_id=url, no_dist=True)


def _load_distributed(url: str) -> set[float] | None:
    if not s3fs.S3FileSystem().exists(f"{url}/.metadata"):
        return None
    tensors = {name: torch.zeros_like(tensor) for name, tensor in _tensors(0).items()}
    dcp.load(tensors, checkpoint_id=url, no_dist=True)
    return _numbers(tensors)


PEERS = (
    Peer("ckptfmt", _save_ours, _load_ours),
    Peer("s3fs + safetensors save_file", _save_file, _load_file),
    Peer("torch.distributed.checkpoint on s3fs", _save_distributed, _load_distributed),
)


def fork(do: Callable[[], None], port: int) -> int:
    """Start something in a process of its own, whose S3 is at a port: the clients' threads do not survive a fork."""
    child = os.fork()
    if child == 0:
        os.environ.update(s3_environment(port))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            do()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def code_of(child: int) -> int:
    """Wait for a process and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@dataclass(slots=True)
class Trial:
    """One writer, its URLs, and the S3 that they are of."""

    peer: Peer
    port: int
    count: int = 0

    def url(self, before: bool) -> str:
        """Return a URL where nothing is, or the first checkpoint."""
        self.count += 1
        url = f"{BUCKET}/{self.peer.name.replace(' ', '')}/{os.urandom(6).hex()}"
        if before:
            assert code_of(fork(lambda: self.peer.save(url, 1), self.port)) == 0
        return url

    def holds(self, url: str, *allowed: float | None) -> bool:
        """Return whether what lies at a URL loads with one of the allowed numbers alone; None stands for nothing."""

        def look() -> None:
            numbers = self.peer.load(url)
            if numbers not in [None if number is None else {float(number)} for number in allowed]:
                raise ValueError(numbers)

        return code_of(fork(look, self.port)) == 0

    def struck(self, rule: Rule, before: bool, started: Callable[[int], None] = lambda _: None) -> bool:
        """Save through a proxy that does as the rule says, and return whether the promise held."""
        url, proxy = self.url(before), Proxy(self.port)
        proxy.rule = rule
        try:
            child = fork(lambda: self.peer.save(url, 2), proxy.port)
            started(child)
            code = code_of(child)
        finally:
            proxy.close()
        return self.holds(url, 2) if code == 0 else self.holds(url, 2, 1 if before else None)

    def requests(self, before: bool) -> list[str]:
        """Return the methods of the requests of a save."""
        methods: list[str] = []

        def rule(method: str, path: str) -> str:
            methods.append(method)
            return PASS

        assert self.struck(rule, before)
        return methods


def at(number: int, do: Callable[[], Any]) -> Rule:
    """Return the rule that does something to the request of a number and lets all others pass."""
    seen: list[str] = []

    def rule(method: str, path: str) -> Any:
        seen.append(method)
        return do() if len(seen) == number else PASS

    return rule


def killed(trial: Trial, number: int, arrives: bool, before: bool) -> bool:
    """Kill a save when its request of a number comes."""
    children: list[int] = []

    def strike() -> str:
        while not children:
            time.sleep(0.001)
        os.kill(children[0], signal.SIGKILL)
        return PASS if arrives else DROP

    return trial.struck(at(number, strike), before, children.append)


def late(trial: Trial, number: int, before: bool) -> bool:
    """Hold a put back, kill its writer, let another save with success; then let the put arrive."""
    url, proxy, held, children = trial.url(before), Proxy(trial.port), Late(), []

    def strike() -> Late:
        while not children:
            time.sleep(0.001)
        os.kill(children[0], signal.SIGKILL)
        return held

    proxy.rule = at(number, strike)
    children.append(fork(lambda: trial.peer.save(url, 2), proxy.port))
    os.waitpid(children[0], 0)
    # Ours takes over only where it is told to.
    other = Peer("", _take_over, _load_ours) if trial.peer.save is _save_ours else trial.peer
    code = code_of(fork(lambda: other.save(url, 3), trial.port))
    held.now.set()
    held.arrived.wait(30)
    proxy.close()
    return trial.holds(url, 3) if code == 0 else trial.holds(url, 3, 2, 1 if before else None)


def _take_over(url: str, number: int) -> None:
    ckptfmt.save(url, {name: tensor.numpy() for name, tensor in _tensors(number).items()}, overwrite=True).close()


def race(trial: Trial) -> bool:
    """Let two save at once: whoever was told of success must find its checkpoint there."""
    url = trial.url(before=False)
    children = [fork(lambda number=number: trial.peer.save(url, number), trial.port) for number in (2, 3)]  # type: ignore[misc]
    won = [number for number, child in zip((2, 3), children, strict=True) if code_of(child) == 0]
    return len(won) == 1 and trial.holds(url, won[0])


def strikes(trial: Trial, short: bool) -> Iterator[tuple[str, bool]]:
    """Yield the kind of each strike, and whether the promise held."""
    for _ in range(2 if short else 20):
        yield "two at once", race(trial)
    for before in (False, True):
        methods = trial.requests(before)
        puts = [number for number, method in enumerate(methods, 1) if method in ("PUT", "POST")]
        numbers = range(1, len(methods) + 1)
        for number in list(numbers)[-1:] if short else numbers:
            for arrives in (False, True):
                yield "killed", killed(trial, number, arrives, before)
            yield "answer lost", trial.struck(at(number, lambda: LOSE), before)
            status = (500, 503, 429)[number % 3]
            yield "500, 503, 429", trial.struck(at(number, lambda status=status: status), before)  # type: ignore[misc]
        for number in puts[-1:] if short else puts:
            yield "late put", late(trial, number, before)


def main() -> None:
    """Print the table, broken promises of tries."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--short", action="store_true", help="a few of each")
    options.add_argument("--only", default="", help="only writers whose name contains this")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("| writer | " + " | ".join(KINDS) + " |\n|---|" + "---|" * len(KINDS), flush=True)
    with tempfile.TemporaryDirectory(prefix="peers-") as folder, servers.seaweed(Path(folder) / "s3") as port:
        assert code_of(fork(lambda: s3fs.S3FileSystem().pipe_file(f"{BUCKET}/made", b"x"), port)) == 0
        for peer in PEERS:
            if chosen.only not in peer.name:
                continue
            found: dict[str, list[bool]] = {kind: [] for kind in KINDS}
            for kind, good in strikes(Trial(peer, port), chosen.short):
                found[kind].append(good)
            cells = [f"{sum(not good for good in found[kind])} of {len(found[kind])}" for kind in KINDS]
            print(f"| {peer.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
