import os
import subprocess
import sys
import time

import numpy as np
import pytest

import ckptfmt

SAVE = """
import sys, threading, numpy, ckptfmt
def refuse(*_):
    raise RuntimeError("can't create new thread at interpreter shutdown")
threading._start_new_thread = refuse
tensors = {"a": numpy.full(1 << 19, 2.0, "f4")}
for compress in (False, True):
    ckptfmt.save(sys.argv[1], tensors, overwrite=True, compress=compress).close()
"""


def names_without_files():
    """The descriptors of this process whose files have no name any more."""
    folder = "/proc/self/fd"
    targets = [os.path.realpath(f"{folder}/{number}") for number in os.listdir(folder)]
    return [target for target in targets if target.endswith(".safetensors (deleted)")]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are not listed here")
def test_the_blocks_of_a_large_file_that_was_replaced_are_given_back_soon(tmp_path):
    for value in (1.0, 2.0, 3.0):
        ckptfmt.save(tmp_path / "out", {"a": np.full(1 << 19, value, "f4")}, overwrite=True).close()
    deadline = time.monotonic() + 20
    while names_without_files() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert names_without_files() == []
    assert os.listdir(tmp_path) == ["out"]


def test_a_save_needs_no_thread_where_none_can_be_started(tmp_path):
    ckptfmt.save(tmp_path / "out", {"a": np.full(1 << 19, 1.0, "f4")}).close()
    command = [sys.executable, "-P", "-c", SAVE, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with ckptfmt.open(tmp_path / "out") as checkpoint:
        assert float(checkpoint.tensors["a"][0]) == 2.0
    assert os.listdir(tmp_path) == ["out"]
