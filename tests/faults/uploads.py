"""Checkpoints that are sent to a bucket of a real S3, and what lies there afterwards."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy

import ckptfmt
from ckptfmt.errors import NotACheckpoint
from ckptfmt.remote.address import parse
from ckptfmt.remote.store import open_store
from tests.remote import servers

ROOT = Path(__file__).resolve().parent.parent.parent


class Bench:
    """A bucket of a running S3, checkpoints to be sent, and what was found so far."""

    def __init__(self, port: int, folder: Path, megabytes: int = 4) -> None:
        self.port, self.folder = port, folder
        self.bucket = f"s3://faults{os.urandom(4).hex()}"
        os.environ.update(servers.s3_environment(port))
        open_store(parse(self.bucket)).put("made", b"", "tests")
        self.checkpoints = [self._make(seed, megabytes) for seed in (1, 2)]
        self.packed = self._make(2, megabytes, "packed", compress=True, state={"m": numpy.zeros(99_999)})
        # Over the size up to which a file is sent by one put.
        self.large = self._make(1, 40, "large")
        self.several = self._make(1, 1, "several", state={"m": numpy.zeros(9999)}, replay={"f": numpy.ones(9999)})

    def _make(self, seed: int, megabytes: int, name: str = "checkpoint", **parts: Any) -> Path:
        path, numbers = self.folder / f"{name}-{seed}", numpy.random.default_rng(seed)
        tensors = {f"t{i}": numbers.standard_normal((megabytes << 20) // 32, "f4") for i in range(8)}
        ckptfmt.save(path, tensors, training_info={"step": seed}, **parts).close()
        return path

    def url(self) -> str:
        """Return a URL where nothing is."""
        return f"{self.bucket}/{os.urandom(6).hex()}"

    def start(self, path: Path, url: str, port: int | None = None, *words: str) -> subprocess.Popen[str]:
        """Start an upload in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ckptfmt", "push", str(path), url, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **servers.s3_environment(port or self.port)},
        )

    def leave_half(self, url: str) -> None:
        """Put there what a writer leaves that died before its first file was whole."""
        place = parse(url)
        open_store(place).put(f"{place.key}/weights.safetensors", b"half", "dead")

    def names(self, url: str) -> list[str]:
        """Return the keys of what lies at a URL."""
        place = parse(url)
        return [key for key, _ in open_store(place).list(place.key)]

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
