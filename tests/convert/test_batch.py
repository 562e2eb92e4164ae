"""Many files at once: each its own outcome, whatever happens to the others."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import ckptfmt
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


def test_a_worker_that_dies_takes_one_file_with_it(folder):
    os.mkfifo("pipe")
    children = []

    def kill_first() -> None:
        while not children:
            with open(f"/proc/self/task/{threading.main_thread().native_id}/children") as file:
                children.extend(map(int, file.read().split()))
            time.sleep(0.01)
        os.kill(children[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_first)
    killer.start()
    outcomes = list(convert_many(items(), jobs=2))
    killer.join()
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert [outcome.error["what"] for outcome in failed] == ["its worker was killed by signal 9"]
    assert statuses(convert_many(items())).count("unchanged") == 5


def test_a_worker_that_cannot_be_replaced_fails_its_files_and_nobody_waits(folder, monkeypatch):
    many = [Item("0.pth", f"out/{i}") for i in range(300)]
    outcomes = convert_many(many, jobs=2)
    next(outcomes)
    monkeypatch.setattr(sys, "executable", str(folder / "missing"))
    with open(f"/proc/self/task/{threading.main_thread().native_id}/children") as file:
        for child in file.read().split():
            os.kill(int(child), signal.SIGKILL)
    rest = list(outcomes)
    assert len(rest) == 299
    assert rest[-1].error["what"] == "its worker cannot be started: No such file or directory"


@pytest.mark.parametrize("taken", [1, 2, 4])
def test_giving_up_half_way_ends_the_workers(folder, taken):
    before = set(threading.enumerate())
    outcomes = convert_many(items(), jobs=2)
    for _ in range(taken):
        next(outcomes)
    outcomes.close()
    assert set(threading.enumerate()) <= before
    with open(f"/proc/self/task/{threading.main_thread().native_id}/children") as file:
        assert file.read().split() == []


def test_it_needs_no_main_guard(folder):
    program = folder / "script.py"
    program.write_text(
        "from ckptfmt.convert.batch import convert_many\n"
        "from ckptfmt.convert.sources import find_sources\n"
        "import json, sys\n"
        "print(json.dumps([o.status for o in convert_many(find_sources(['.'], 'out').items, jobs=2)]))\n"
    )
    run = subprocess.run([sys.executable, "-P", str(program)], capture_output=True, text=True, timeout=60)
    assert json.loads(run.stdout) == ["converted"] * 6
    assert run.stderr == ""
    assert ckptfmt.validate("out/0").valid
