import json
import os
import pickle
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import ckptfmt
from ckptfmt.format.schemas import load_schema

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
        """The one JSON document on stdout, which must be as the schema says; fails where there is more or less."""
        document: dict[str, Any] = json.loads(self.out)
        Draft202012Validator(load_schema("report")).validate(document)
        return document


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray]) -> Path:
    """A folder with two checkpoints of one run, and foreign files of the same network."""
    folder = tmp_path_factory.mktemp("stock")
    config = ckptfmt.ModelConfig(n_action=4, input_shape=(4, 36, 36), hidden_size=16, game="ALE/Breakout-v5")
    ckptfmt.save(folder / "runs/breakout-041", tensors, config, {"frame_idx": 3_000_000})
    moved = {**tensors, "fc.2.bias": tensors["fc.2.bias"] * 2}
    ckptfmt.save(folder / "runs/breakout-042", moved, config, {"frame_idx": 4_000_000})
    (folder / "dqn_best.pth").write_bytes(pickle.dumps(tensors))
    (folder / "old-runs/deep").mkdir(parents=True)
    (folder / "old-runs/a.pth").write_bytes(pickle.dumps(tensors))
    np.savez(folder / "old-runs/deep/b.npz", **tensors)
    (folder / "old-runs/notes.txt").write_text("learning rate too high")
    return folder


@pytest.fixture
def work(stock: Path, tmp_path: Path) -> Path:
    """A copy of the stock that a test may change."""
    shutil.copytree(stock, tmp_path, dirs_exist_ok=True)
    return tmp_path


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
