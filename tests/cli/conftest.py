import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CKPT = str(Path(sys.executable).parent / "ckpt")
# What decides over colour, width and encoding comes from each test, not from who runs it.
_UNSET = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONIOENCODING", "CKPT_DEBUG")


def environment(**changes: str) -> dict[str, str]:
    base = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return {**base, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **changes}


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout; fails where there is more or less."""
        document: dict[str, Any] = json.loads(self.out)
        return document


@pytest.fixture
def ckpt(tmp_path: Path) -> Callable[..., Run]:
    """Run ckpt as a user does, in an empty folder."""

    def run(*words: object, cwd: Path = tmp_path, **changes: str) -> Run:
        done = subprocess.run(
            [CKPT, *map(str, words)],
            cwd=cwd,
            env=environment(**changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        return Run(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def on_terminal(tmp_path: Path) -> Callable[..., Run]:
    """Run ckpt with stdout and stderr each on a pseudo-terminal of its own."""

    def run(*words: object, cwd: Path = tmp_path, **changes: str) -> Run:
        ends = [pty.openpty(), pty.openpty()]
        process = subprocess.Popen(
            [CKPT, *map(str, words)],
            cwd=cwd,
            env=environment(**changes),
            stdin=subprocess.DEVNULL,
            stdout=ends[0][1],
            stderr=ends[1][1],
        )
        for _, theirs in ends:
            os.close(theirs)
        texts = _read_all([ours for ours, _ in ends])
        return Run(process.wait(timeout=60), texts[0], texts[1])

    return run


def _read_all(descriptors: list[int]) -> list[str]:
    texts = dict.fromkeys(descriptors, b"")
    open_ = set(descriptors)
    while open_:
        for descriptor in select.select(list(open_), [], [], 60)[0]:
            try:
                part = os.read(descriptor, 65536)
            except OSError:  # Linux reports the end of a pseudo-terminal as an error.
                part = b""
            texts[descriptor] += part
            if not part:
                open_.discard(descriptor)
                os.close(descriptor)
    return [texts[descriptor].decode().replace("\r\n", "\n") for descriptor in descriptors]
