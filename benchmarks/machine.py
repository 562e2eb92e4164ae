"""Say what machine this is, and how fast its parts are: the limits that no program on it can pass."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

__all__ = ["describe", "disk_rate", "limits"]

_SIZE = 64 << 20


def describe(folder: str) -> dict[str, Any]:
    """Return what the figures hang on: processor, memory, system, the filesystem of `folder`, versions."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem(folder),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def limits(folder: str, size: int = _SIZE) -> dict[str, float]:
    """Return GB/s of copying memory, of the hashes on one core, and of the disk under `folder`.

    They are measured in a process of their own: the memory of this one counts as that of every one it starts.
    """
    command = [sys.executable, "-m", "benchmarks.machine", folder, str(size)]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    rates: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=root).stdout)
    return rates


def _limits(folder: str, size: int) -> dict[str, float]:
    from blake3 import blake3

    data = os.urandom(min(size, _SIZE))
    target = memoryview(bytearray(len(data)))

    def copy() -> None:
        target[:] = data

    return {
        "memory copy": _rate(copy, len(data)),
        "BLAKE3": _rate(lambda: blake3(data).digest(), len(data)),
        "CRC-32": _rate(lambda: zlib.crc32(data), len(data)),
        "SHA-256": _rate(lambda: hashlib.sha256(data).digest(), len(data)),
        "disk, synced": _rate(lambda: _write(folder, data, size), size, times=3),
    }


def disk_rate(folder: str, size: int = _SIZE) -> float:
    """Return GB/s of writing `size` bytes to the disk under `folder`, until they are down; once, to cost little."""
    data = os.urandom(size)
    start = time.perf_counter()
    _write(folder, data, size)
    return size / (time.perf_counter() - start) / 1e9


def filesystem(folder: str) -> str:
    """Return the type of the filesystem that a folder lies on; `tmpfs` means that no disk was measured."""
    path, best = os.path.realpath(folder), ("", "unknown")
    with open("/proc/mounts") as mounts:
        for line in mounts:
            _, place, kind, *_ = line.split()
            if path.startswith(place) and len(place) >= len(best[0]):
                best = (place, kind)
    return best[1]


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _rate(work: Callable[[], object], size: int, times: int = 5) -> float:
    work()
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return size / best / 1e9


def _write(folder: str, data: bytes, size: int) -> None:
    path = os.path.join(folder, "rate")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for _ in range(0, size, len(data)):
            os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)
        os.unlink(path)


if __name__ == "__main__":
    json.dump(_limits(sys.argv[1], int(sys.argv[2])), sys.stdout)
