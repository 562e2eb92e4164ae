"""The examples in help texts run as they are written, beside the files that they name."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ckptfmt.cli.main import COMMANDS

import ckptfmt
from tests import traces

from .conftest import CKPT, environment

# Commands whose modules need torch are tried by tests of their own.
NAMES = ("inspect", "validate", "diff", "schema", "convert", "completion")


def test_the_commands_tried_are_those_of_the_table():
    assert set(NAMES) <= {name for section in COMMANDS.values() for name in section}


def write_trace(path: Path, played_by: Path) -> None:
    """Write a trace whose frames the checkpoint takes."""
    with ckptfmt.open(played_by) as checkpoint:
        shape = checkpoint.config.input_shape
    traces.write(path, traces.arrays(4) | {"observations": np.zeros((4, *shape), np.uint8)})


@pytest.mark.parametrize("name", NAMES)
def test_examples_run_as_written(ckpt, work, name):
    help_ = ckpt(name, "--help").out
    examples = re.findall(r"^  (ckpt .*)$", help_[help_.index("Examples:") :], re.MULTILINE)
    assert examples
    write_trace(work / "breakout.trace", work / "runs" / "breakout-042")
    path = f"{Path(CKPT).parent}{os.pathsep}{os.environ['PATH']}"
    for example in examples:
        run = subprocess.run(
            ["bash", "-c", example],
            cwd=work,
            env=environment(PATH=path, HOME=str(work)),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if "--frames" in example and importlib.util.find_spec("torch") is None:
            assert run.stderr == 'error: diff needs torch, which is not installed; run: pip install "ckptfmt[rl]"\n'
            continue
        # 1 is an answer too: the two checkpoints of the examples do differ.
        assert run.returncode in ((0, 1) if name == "diff" else (0,)), (example, run.stderr)
        shutil.rmtree(work / "out", ignore_errors=True)
