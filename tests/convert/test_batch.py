"""Many files at once: each its own outcome, whatever happens to the others."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
import ckptfmt.store.clean
from ckptfmt.convert.batch import convert_many
from ckptfmt.convert.sources import Item


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for i in range(6):
        with open(f"{i}.pth", "wb") as file:
            pickle.dump({"some.weight": random.normal(size=(8, 8))}, file)
    return tmp_path


def items(count=6):
    return [Item(f"{i}.pth", f"out/{i}") for i in range(count)]


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def spawned(workers):
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


@pytest.mark.parametrize("jobs", [1, 3])
def test_outcomes_come_in_order_and_a_failure_stops_nothing(folder, jobs):
    (folder / "2.pth").write_bytes(b"\x80\x04nothing")
    outcomes = list(convert_many(items(), jobs=jobs))
    assert [outcome.item for outcome in outcomes] == items()
    assert statuses(outcomes) == ["converted", "converted", "failed", "converted", "converted", "converted"]
    assert outcomes[2].error["where"] == "2.pth"
    assert outcomes[0].conversion["written"].keys() == {"weights.safetensors", "manifest.json"}
    assert sorted(os.listdir("out")) == ["0", "1", "3", "4", "5"]


def test_what_is_there_already_is_left_as_it_is(folder):
    list(convert_many(items(2)))
    before = os.stat("out/0").st_ino
    assert statuses(convert_many(items(3))) == ["unchanged", "unchanged", "converted"]
    assert os.stat("out/0").st_ino == before
    assert statuses(convert_many(items(1), overwrite=True)) == ["converted"]
    assert os.stat("out/0").st_ino != before


def test_a_target_of_other_bytes_or_options_is_not_taken_for_done(folder):
    list(convert_many(items(1)))
    os.replace("1.pth", "0.pth")
    (outcome,) = convert_many(items(1))
    assert (outcome.status, outcome.error["code"]) == ("failed", "write.exists")
    assert statuses(convert_many(items(1), overwrite=True)) == ["converted"]
    assert statuses(convert_many(items(1))) == ["unchanged"]
    assert statuses(convert_many(items(1), key="elsewhere")) == ["failed"]


def test_a_target_with_one_wrong_byte_is_not_taken_for_done(folder):
    list(convert_many(items(1)))
    data = Path("out/0/weights.safetensors").read_bytes()
    Path("out/0/weights.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (outcome,) = convert_many(items(1))
    error = outcome.error
    assert (outcome.status, error["code"], error["where"]) == ("failed", "weights.digest", "out/0/weights.safetensors")
    assert error["fix"] == "add overwrite=True to convert it again"
    assert statuses(convert_many(items(1), overwrite=True)) == ["converted"]
    assert statuses(convert_many(items(1))) == ["unchanged"]


def test_a_damaged_target_is_not_taken_for_done(folder):
    list(convert_many(items(1)))
    os.truncate("out/0/weights.safetensors", 100)
    assert statuses(convert_many(items(1))) == ["failed"]


def test_a_dry_run_writes_nothing(folder):
    assert statuses(convert_many(items(2), jobs=2, dry_run=True)) == ["planned", "planned"]
    assert not os.path.exists("out")


def test_folders_in_which_nothing_was_written_go_away(folder):
    (folder / "0.pth").write_bytes(b"")
    assert statuses(convert_many([Item("0.pth", "out/deep/er/0")])) == ["failed"]
    assert not os.path.exists("out")


def children() -> list[int]:
    with open(f"/proc/self/task/{threading.main_thread().native_id}/children") as file:
        return [int(pid) for pid in file.read().split()]


def is_worker(pid: int) -> bool:
    # The process that tracks what multiprocessing shares stays, for other pools of the program.
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"spawn_main" in file.read()


def slow(path: Path) -> None:
    """Make a file that takes a while to convert."""
    with open(path, "wb") as file:
        pickle.dump({"some.weight": np.zeros((2000, 4000))}, file)


def worker_of(name: str) -> int:
    """Return the worker that reads a file, once there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pid in filter(is_worker, children()):
            with contextlib.suppress(OSError):
                opened = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
                if any(os.path.basename(path) == name for path in opened):
                    return pid
        time.sleep(0.005)
    raise AssertionError(f"no worker reads {name}")


def test_a_worker_that_dies_takes_one_file_with_it(folder):
    slow(folder / "2.pth")
    outcomes = convert_many(items(), jobs=2)
    found = [next(outcomes)]
    os.kill(worker_of("2.pth"), signal.SIGKILL)
    found += outcomes
    assert statuses(found) == ["converted", "converted", "failed", "converted", "converted", "converted"]
    assert found[2].error["code"] == "convert.worker"
    assert found[2].error["what"] == "the process that converted it was killed by signal 9"
    assert statuses(convert_many(items(), jobs=2)) == [*["unchanged"] * 2, "converted", *["unchanged"] * 3]


def test_a_file_that_hangs_its_worker_fails_alone_by_its_name(folder):
    slow(folder / "2.pth")
    outcomes = convert_many(items(), jobs=2, timeout=10)
    found = [next(outcomes)]
    os.kill(worker_of("2.pth"), signal.SIGSTOP)
    found += outcomes
    assert statuses(found) == ["converted", "converted", "failed", "converted", "converted", "converted"]
    assert found[2].error == {
        "code": "convert.worker",
        "what": "took longer than 10 seconds",
        "where": "2.pth",
        "fix": "allow more with timeout=",
    }


@pytest.mark.parametrize("make", [ThreadPoolExecutor, spawned], ids=["threads", "processes"])
def test_any_executor_takes_the_place_of_the_workers(folder, make):
    (folder / "2.pth").write_bytes(b"\x80\x04nothing")
    with make(2) as executor:
        found = list(convert_many([(item.source, item.dest) for item in items()], executor=executor))
        assert executor.submit(len, "abc").result() == 3
    assert [outcome.item for outcome in found] == items()
    assert statuses(found) == ["converted", "converted", "failed", "converted", "converted", "converted"]
    assert found[2].error["code"] == "source.pickle"


def test_files_that_an_executor_leaves_when_it_breaks_are_converted_all_the_same(folder):
    with spawned(1) as executor:
        executor.submit(os.kill, 0, 0).result()
        killed = executor.submit(os._exit, 7)
        found = list(convert_many(items(), executor=executor))
        assert isinstance(killed.exception(), BrokenProcessPool)
    assert set(statuses(found)) <= {"converted", "unchanged"}
    assert [outcome.item for outcome in found] == items()
    assert sorted(os.listdir("out")) == list("012345")


def test_an_executor_that_is_broken_from_the_start_leaves_all_files_to_workers(folder):
    with spawned(1) as executor:
        assert isinstance(executor.submit(os._exit, 7).exception(), BrokenProcessPool)
        assert statuses(convert_many(items(), executor=executor)) == ["converted"] * 6


class Stuck(ThreadPoolExecutor):
    """Never ends what it was given third, as where a worker hangs, nor begins the last, which waits behind it."""

    def submit(self, work, *args):
        self.given = [*getattr(self, "given", ()), work]
        if len(self.given) not in (3, 6):
            return super().submit(work, *args)
        future = Future()
        if len(self.given) == 3:
            future.set_running_or_notify_cancel()
        return future


def test_what_an_executor_never_ends_is_converted_by_workers_who_know_what_hangs(folder):
    with Stuck(1) as executor:
        found = list(convert_many(items(), executor=executor, timeout=10))
    assert [outcome.item for outcome in found] == items()
    assert statuses(found) == ["converted"] * 6


@pytest.mark.parametrize("taken", [1, 4])
def test_giving_up_half_way_ends_the_workers_and_leaves_nothing_half_written(folder, taken):
    slow(folder / "5.pth")
    before = set(threading.enumerate())
    outcomes = convert_many(items(), jobs=2)
    for _ in range(taken):
        next(outcomes)
    outcomes.close()
    assert set(threading.enumerate()) <= before
    assert list(filter(is_worker, children())) == []
    assert ckptfmt.store.clean.leftovers("out") == ()


def test_a_script_without_a_main_guard_is_told_what_it_lacks(folder):
    program = folder / "script.py"
    program.write_text(
        "from ckptfmt.convert.batch import convert_many\n"
        "from ckptfmt.convert.sources import find_sources\n"
        "print([o.status for o in convert_many(find_sources(['.'], 'out').items, jobs=2)])\n"
    )
    run = subprocess.run([sys.executable, "-P", str(program)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    # Workers that could not begin say so as well, before it or after.
    [said] = [line for line in run.stderr.splitlines() if "convert_many: " in line]
    assert said.endswith(
        "convert_many: no worker process can be started; in a script, call it under: if __name__ == '__main__'"
    )


def test_a_script_with_one_converts(folder):
    program = folder / "script.py"
    program.write_text(
        "from ckptfmt.convert.batch import convert_many\n"
        "from ckptfmt.convert.sources import find_sources\n"
        "if __name__ == '__main__':\n"
        "    print([o.status for o in convert_many(find_sources(['.'], 'out').items, jobs=2)])\n"
    )
    run = subprocess.run([sys.executable, "-P", str(program)], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == (f"{['converted'] * 6}\n", "")
    assert ckptfmt.validate("out/0").valid
