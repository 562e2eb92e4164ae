import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import CkptError, TargetExists, WriteError
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.clean import leftovers
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.store.write.lock import hold

ROOT = str(Path(ckptfmt.__file__).parent.parent)


def run(program, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
        **options,
    )


def values(manager):
    found = {}
    for step in manager.steps():
        with Checkpoint(manager.path(step)) as checkpoint:
            found[step] = {float(v) for v in np.unique(checkpoint.tensors["a"])}
    return found


def test_saves_hold_what_was_there_when_they_were_asked_for_and_keep_their_order(tmp_path):
    array = np.zeros(100_000, "f4")
    state = np.zeros(10, "i8")
    with CheckpointManager(tmp_path, background=True) as manager:
        for step in range(6):
            array[:] = state[:] = step
            manager.save(step, {"a": array, "tied": array}, state={"n": state})
        array[:] = -1
    assert values(manager) == {step: {float(step)} for step in range(6)}
    with manager.restore(5) as checkpoint:
        assert checkpoint.manifest.files["weights.safetensors"].tied == {"tied": "a"}
        assert checkpoint.read("n", "state.safetensors") == np.full(10, 5).tobytes()
    times = [os.stat(manager.path(step)).st_ctime_ns for step in range(6)]
    assert times == sorted(times)


def test_an_error_is_raised_by_the_next_call_once(tmp_path):
    manager = CheckpointManager(tmp_path, background=True)
    manager.save(1, {"a": np.zeros(3, "f4")})
    manager.wait()
    manager.save(1, {"a": np.ones(3, "f4")})
    with pytest.raises(TargetExists):
        manager.wait()
    manager.save(2, {"a": np.ones(3, "f4")})
    manager.close()
    assert manager.steps() == [2, 1]


FAILING = """
import atexit, gc, os, sys, numpy
atexit.register(lambda: print("the end", file=sys.stderr, flush=True))
from ckptfmt.store.manager import CheckpointManager

def train():
    manager = CheckpointManager(sys.argv[1], background=True)
    manager.save(1, {"a": numpy.zeros(3)})
    manager.save(1, {"a": numpy.zeros(3)})
    if len(sys.argv) > 2:
        manager._background.wait()
    return manager

manager = train()
print("unflushed", end="")
"""


@pytest.mark.parametrize(("last", "options"), [("sys.exit(0)", ()), ("del manager\ngc.collect()", ("wait",))])
def test_an_error_nobody_asked_for_is_said_at_the_end_of_the_process(tmp_path, last, options):
    done = run(FAILING + last, tmp_path, *options)
    said = (
        f"ckptfmt.errors.TargetExists: {tmp_path}/step-000000000001: exists and is not empty; "
        "add overwrite=True to replace it, or choose another folder\n"
    )
    # Of what was registered before as well, and of what was not flushed yet, nothing is lost.
    assert (done.returncode, done.stdout) == (120, "unflushed")
    assert done.stderr == said + "the end\n"


def test_a_process_without_standard_error_fails_all_the_same(tmp_path):
    done = run(FAILING + "sys.stderr = None", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (120, "unflushed", "")


def test_a_forked_child_does_not_say_the_errors_of_its_parent(tmp_path):
    ends = "manager._background.wait()\nif os.fork(): print(os.waitstatus_to_exitcode(os.wait()[1]))"
    done = run(FAILING + ends, tmp_path, "wait")
    assert done.stdout.replace("unflushed", "") == "0\n"
    assert (done.returncode, done.stderr.count("TargetExists")) == (120, 1)


def test_the_end_of_the_process_waits_for_the_saves(tmp_path):
    done = run(
        "import sys, numpy\n"
        "from ckptfmt.store.manager import CheckpointManager\n"
        "m = CheckpointManager(sys.argv[1], background=True)\n"
        "for step in range(4): m.save(step, {'a': numpy.full(1 << 20, step, 'f4')})\n",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert values(CheckpointManager(tmp_path)) == {step: {float(step)} for step in range(4)}


TRAINER = """
import sys, time, numpy
from ckptfmt.store.manager import CheckpointManager

seconds, pace = float(sys.argv[2]), float(sys.argv[3])

class Slow:
    pass

from ckptfmt.store.manager import snapshot
chunks = snapshot.Snapshot.chunks
def slowly(self, size=1 << 16):
    for part in chunks(self, size):
        time.sleep(pace)
        yield part
snapshot.Snapshot.chunks = slowly

manager = CheckpointManager(sys.argv[1], background=True)
manager.save(1, {"a": numpy.full(10, 1, "f4")})
manager.wait()
with manager.finish_on_sigterm(seconds):
    manager.save(2, {"a": numpy.full(1 << 18, 2, "f4")})
    manager.save(3, {"a": numpy.full(1 << 18, 3, "f4")})
    print("saving", flush=True)
    while True:  # as a trainer goes on; one long sleep may miss the signal that comes just before it
        time.sleep(0.01)
"""


@pytest.mark.parametrize(("seconds", "pace", "kept"), [(30, 0.01, [3, 2, 1]), (2, 0.2, [1])])
def test_sigterm_finishes_or_abandons_the_saves_within_the_time_given(tmp_path, seconds, pace, kept):
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(tmp_path), str(seconds), str(pace)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "saving\n"
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=seconds + 20) == -signal.SIGTERM
    process.stdout.close()
    manager = CheckpointManager(tmp_path)
    assert manager.steps() == kept
    assert leftovers(tmp_path) == ()
    assert values(manager) == {step: {float(step)} for step in kept}
    assert time.monotonic() - started < seconds + 20


def test_an_abandoned_save_says_so(tmp_path):
    manager = CheckpointManager(tmp_path, background=True, wait=1)
    folder = os.open(tmp_path, os.O_RDONLY)
    with hold(folder, "step-000000000001", where="somebody else"):
        for step in (1, 2):
            manager.save(step, {"a": np.zeros(3, "f4")})
        with pytest.raises(WriteError) as caught:
            manager.close(timeout=0.1)
    os.close(folder)
    assert str(caught.value) == "the save was abandoned, its time was up; allow it more time, or save to a faster disk"
    with pytest.raises(WriteError):
        manager.wait()
    assert manager.steps() == []
    assert leftovers(tmp_path) == ()


def test_a_forked_child_neither_waits_nor_saves(tmp_path):
    manager = CheckpointManager(tmp_path, background=True)
    manager.save(1, {"a": np.zeros(8 << 20, "u1")})
    child = os.fork()
    if child == 0:
        manager.wait()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    manager.close()
    assert manager.steps() == [1]


def test_tensors_that_cannot_be_stored_are_refused_at_once(tmp_path):
    with CheckpointManager(tmp_path, background=True) as manager, pytest.raises(CkptError):
        manager.save(1, {"a": np.array(["text"])})
    assert manager.steps() == []


def test_what_is_said_beside_the_tensors_is_that_of_the_call(tmp_path):
    info, extra, played = {"returns": [1.0, float("inf")]}, {"notes": ["a"]}, [{"return": {"mean": 1.0}}]
    folder = os.open(tmp_path, os.O_RDONLY)
    with CheckpointManager(tmp_path, background=True, wait=60) as manager:
        # Somebody else holds its place, so that it is written only when all of them have changed.
        with hold(folder, "step-000000000001", where="somebody else"):
            manager.save(1, {"a": np.zeros(3, "f4")}, None, info, extra=extra, evaluation=played)
            info["returns"].append(2.0)
            extra["notes"].clear()
            played[0]["return"]["mean"] = 2.0
        manager.wait()
        with Checkpoint(manager.path(1)) as checkpoint:
            assert checkpoint.manifest.training_info == {"returns": [1.0, float("inf")]}
            assert checkpoint.manifest.extra["notes"] == ["a"]
            assert checkpoint.manifest.evaluation == ({"return": {"mean": 1.0}},)
    os.close(folder)


def test_what_json_cannot_hold_is_refused_at_once(tmp_path):
    with CheckpointManager(tmp_path, background=True) as manager, pytest.raises(CkptError) as caught:
        manager.save(1, {"a": np.zeros(3, "f4")}, None, {"seen": {1}})
    fix = "give a number, text, list or mapping"
    assert str(caught.value) == f"$.training_info.seen: a set cannot be written as JSON; {fix}"
    assert manager.steps() == []
