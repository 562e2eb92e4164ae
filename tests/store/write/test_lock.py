import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import WriteError
from ckptfmt.format.writernames import WriterName, parse_writer_name, stage_name
from ckptfmt.store.clean import clean, leftovers
from ckptfmt.store.write import lock
from ckptfmt.store.write.lock import hold

HOLDER = """
import os, sys, time
from ckptfmt.store.write.lock import hold
folder = os.open(sys.argv[1], os.O_RDONLY)
with hold(folder, "out", where="out"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def save(path, **options):
    ckptfmt.save(path, {"a": np.zeros(3, "f4")}, **options).close()


def test_a_second_writer_names_the_first(tmp_path, holder):
    with pytest.raises(WriteError) as caught:
        save(tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path}/out: is being written by process {holder.pid} on {socket.gethostname()}; "
        "wait for it with wait=SECONDS, or end that process"
    )
    assert caught.value.code == "write.locked"


def test_a_second_writer_waits_for_the_first(tmp_path, holder):
    threading.Timer(0.3, holder.stdin.close).start()
    save(tmp_path / "out", wait=30)
    assert os.listdir(tmp_path) == ["out"]


def test_the_lock_of_a_killed_writer_is_free_at_once(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert os.listdir(tmp_path) == [".out.ckpt-lock"]
    save(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


def test_other_targets_are_not_locked(tmp_path, holder):
    save(tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == [".out.ckpt-lock", "other"]


def test_threads_of_one_process_lock_one_another_out(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    with hold(folder, "out", where="out"), pytest.raises(WriteError), hold(folder, "out", where="out"):
        pass
    os.close(folder)


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    ready = os.pipe()
    with hold(folder, "out", where="out"):
        child = os.fork()
        if child == 0:
            os.write(ready[1], b"r")
            time.sleep(60)
            os._exit(0)
        os.read(ready[0], 1)
    with hold(folder, "out", where="out"):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(folder)


def test_without_flock_the_file_is_the_lock(tmp_path, monkeypatch):
    """As on filesystems that cannot lock: the system call is refused, everything else is real."""
    refuse_flock(monkeypatch)
    folder = os.open(tmp_path, os.O_RDONLY)
    with hold(folder, "out", where="out"):
        assert os.listdir(tmp_path) == [".out.ckpt-owner"]
        assert lock.holder(folder, "out") == f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(WriteError) as caught, hold(folder, "out", where="out"):
            pass
        assert caught.value.what == f"is being written by process {os.getpid()} on {socket.gethostname()}"
    assert os.listdir(tmp_path) == []
    os.close(folder)


def test_without_flock_the_lock_of_a_dead_process_is_taken_over(tmp_path, monkeypatch):
    refuse_flock(monkeypatch)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    signed = f'{{"host": "{socket.gethostname()}", "process": {dead.pid}}}'
    (tmp_path / ".out.ckpt-owner").write_text(signed)
    save(tmp_path / "out", wait=1)
    assert os.listdir(tmp_path) == ["out"]
    (tmp_path / ".new.ckpt-owner").write_text(signed.replace(socket.gethostname(), "elsewhere"))
    with pytest.raises(WriteError) as caught:
        save(tmp_path / "new")
    assert caught.value.what == f"is being written by process {dead.pid} on elsewhere"


def refuse_flock(monkeypatch):
    import errno
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_names_beside_a_target_are_recognised_and_no_others():
    assert parse_writer_name(".a.b.ckpt-lock") == WriterName(".a.b.ckpt-lock", "a.b", "lock")
    assert parse_writer_name(stage_name("out")).stem == "out"
    for name in (
        "out",
        ".out",
        ".out.ckpt-stage",
        ".out.ckpt-stage-xyz",
        ".out.ckpt-old-0123456789abcdef",
        ".out.ckpt-lock-0123456789abcdef",
        "out.ckpt-lock",
        ".ckpt-lock",
        ".out.ckpt-lock~",
    ):
        assert parse_writer_name(name) is None


def test_cleaning_takes_what_the_dead_left_and_nothing_else(tmp_path, holder):
    stage = tmp_path / "runs" / ".new.ckpt-stage-0123456789abcdef"
    stage.mkdir(parents=True)
    (stage / "weights.safetensors").write_bytes(bytes(10))
    mine = tmp_path / "runs" / ".mine.ckpt-stage-0123456789abcdef"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    living = tmp_path / ".out.ckpt-stage-0123456789abcdef"
    living.mkdir()
    found = {
        os.path.basename(left.path): (left.kind, left.bytes, bool(left.held_by), left.state)
        for left in leftovers(tmp_path)
    }
    assert found == {
        ".new.ckpt-stage-0123456789abcdef": ("stage", 10, False, "left"),
        ".mine.ckpt-stage-0123456789abcdef": ("stage", 4, False, "kept"),
        ".out.ckpt-stage-0123456789abcdef": ("stage", 0, True, "left"),
        ".out.ckpt-lock": ("lock", (tmp_path / ".out.ckpt-lock").stat().st_size, True, "left"),
    }
    clean(tmp_path)
    assert not stage.exists()
    assert (mine / "notes.txt").read_text() == "mine"
    assert living.exists()


def test_cleaning_puts_back_what_was_set_aside(tmp_path):
    save(tmp_path / "out")
    os.rename(tmp_path / "out", tmp_path / ".out.ckpt-old")
    assert [(left.kind, left.state) for left in clean(tmp_path)] == [("old", "restored")]
    assert os.listdir(tmp_path) == ["out"]
