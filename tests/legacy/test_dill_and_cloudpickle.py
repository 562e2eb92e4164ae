"""Objects that dill and cloudpickle write whole, code and all: read as data, never run."""

import functools
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ckptfmt

CKPT = str(Path(sys.executable).parent / "ckpt")
WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def agent(folder: Path) -> object:
    """An agent of a script: a class, a closure, a logger, a pattern and its weights."""

    class Agent:
        def __init__(self) -> None:
            self.net = {"fc.weight": WEIGHTS}
            self.schedule = lambda step: folder.joinpath("ran").write_text(str(step))
            self.clip = functools.partial(max, 0.1)
            self.log = logging.getLogger("agent")
            self.name = re.compile("a+b")

        def __setstate__(self, state: dict) -> None:
            folder.joinpath("ran").write_text("state")
            self.__dict__.update(state)

    return Agent()


@pytest.fixture(params=["cloudpickle", "dill"])
def written(request, tmp_path) -> Path:
    package = pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    path = tmp_path / "agent.pkl"
    options = {"recurse": True} if request.param == "dill" else {}
    path.write_bytes(package.dumps(agent(tmp_path), **options))
    return path


def found(path: Path) -> np.ndarray:
    with ckptfmt.open(path) as checkpoint:
        (name,) = checkpoint.names()
        assert name.endswith("fc.weight")
        return np.asarray(checkpoint.tensors[name])


def test_nothing_of_it_is_run_and_the_weights_come_out(written, tmp_path):
    ckptfmt.convert(written, tmp_path / "out", allow_unsafe=True)
    assert np.array_equal(found(tmp_path / "out"), WEIGHTS)
    assert not (tmp_path / "ran").exists()


def test_without_leave_it_is_read_or_refused_by_name_and_the_hint_works_as_it_stands(written, tmp_path):
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    run = subprocess.run([CKPT, "convert", written.name, "out"], **options)
    if run.returncode == 2:
        assert "refused, its pickle" in run.stderr
        assert "--allow-unsafe-globals" in run.stderr
        again = run.stderr.rpartition("see: ")[2].split()
        looked = subprocess.run([CKPT, *again[1:]], **options)
        assert (looked.returncode, looked.stderr) == (0, "")
    else:
        assert np.array_equal(found(tmp_path / "out"), WEIGHTS)
    assert not (tmp_path / "ran").exists()
