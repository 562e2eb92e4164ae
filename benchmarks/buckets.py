"""Checkpoints in a bucket of a real S3 on this machine, for which the extra dev is needed.

`python -m benchmarks.buckets [--short]`
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy

import ckptfmt
from benchmarks.bench import Bench
from benchmarks.measure import run
from ckptfmt.remote.address import parse
from ckptfmt.remote.store import open_store
from tests.remote import servers
from tests.remote.proxy import Proxy
from tests.remote.servers import s3_environment

# Of which each tensor has 16 MiB.
_TENSORS = 64
_ROUNDS = 9
_READ = "import ckptfmt, sys; ckptfmt.open(sys.argv[1]).read('t5')"
# In a process of its own: the memory of this one would be counted for those that it starts.
_MAKE = """
import ckptfmt, numpy, sys
tensors = {f"t{i}": numpy.full(int(sys.argv[2]), i, "f4") for i in range(int(sys.argv[3]))}
ckptfmt.save(sys.argv[1], tensors).close()
"""


def push(bench: Bench, bucket: str, source: str) -> None:
    """Push a large checkpoint, and read one tensor of it."""
    url = f"{bucket}/large"
    cost = run(bench.ckpt("push", source, url))
    print(f"push of {_gib(source):.2f} GiB: {cost.seconds:.1f} s, {cost.memory:.0f} MB of memory at most (goal 200)")
    back = run(bench.ckpt("pull", url, bench.path("back")))
    print(f"pull of it: {back.seconds:.1f} s, {back.memory:.0f} MB of memory at most")
    seconds = statistics.median(_timed(lambda: ckptfmt.open(url).read("t5")) for _ in range(_ROUNDS))
    proxy = Proxy(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]))
    os.environ.update(s3_environment(proxy.port))
    run([sys.executable, "-c", _READ, url])
    os.environ.update(s3_environment(proxy.upstream))
    proxy.close()
    asked = ", ".join(f"{method} {path.rpartition('/')[2]}" for method, path in proxy.seen)
    print(f"one tensor of it, opened and verified: {seconds * 1000:.0f} ms, {len(proxy.seen)} requests: {asked}")


def latest(bench: Bench, bucket: str, count: int) -> None:
    """Find the newest whole checkpoint among many, three newer ones of which were not committed."""
    place = parse(f"{bucket}/run")
    store, one = open_store(place), bench.path("one")
    with ckptfmt.CheckpointManager(one) as manager:
        manager.save(count, {"a": numpy.zeros(1000, "f4")}, metrics={"reward": 1.0})
    files = {file.name: file.read_bytes() for file in Path(manager.path(count)).iterdir()}
    for step in range(1, count + 4):
        for name, data in files.items():
            if step <= count or name != "manifest.json":
                store.put(f"run/step-{step:012d}/{name}", data, "0123456789abcdef")
    listing, found = [], []
    for _ in range(_ROUNDS):
        listing.append(_timed(lambda: sum(1 for _ in store.list("run"))))
        found.append(_timed(lambda: ckptfmt.CheckpointManager(f"{bucket}/run").latest()))
    one, all_ = statistics.median(listing) * 1000, statistics.median(found) * 1000
    print(
        f"latest() among {count:,}, verified: {all_:.0f} ms, a listing of the {2 * count + 3:,} objects {one:.0f} ms, "
        f"so {all_ - one:.0f} ms more (goal 50)"
    )


def _timed(do: Callable[[], object]) -> float:
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


def _gib(folder: str) -> float:
    return sum(file.stat().st_size for file in Path(folder).iterdir()) / (1 << 30)


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--short", action="store_true", help="tiny data; the figures mean nothing")
    short = options.parse_args().short
    with tempfile.TemporaryDirectory(prefix="ckptfmt-bench-") as folder, servers.seaweed(Path(folder) / "s3") as port:
        bench, bucket = Bench(folder, short), f"s3://bench{os.urandom(4).hex()}"
        os.environ.update(s3_environment(port))
        open_store(parse(bucket)).put("made", b"", "benchmark")
        size, source = bench.size(4 << 20, 1 << 10), bench.path("source")
        run([sys.executable, "-c", _MAKE, source, str(size), str(_TENSORS)])
        push(bench, bucket, source)
        latest(bench, bucket, bench.size(1000, 20))


if __name__ == "__main__":
    main()
