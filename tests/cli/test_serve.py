import json
import re
import signal
import subprocess
import urllib.request

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("starlette", reason="starlette is not installed")

from .conftest import CKPT, Run, environment


def test_pages_are_served_until_ctrl_c(work):
    command = [CKPT, "serve", "runs"]
    with subprocess.Popen(command, cwd=work, env=environment(), stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            address = re.match(r"(http://127\.0\.0\.1:\d+)  \(read only; Ctrl-C stops\)\n", line)[1]
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert "breakout-042" in answer.read().decode()
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


def test_the_address_is_told_at_once(work):
    command = [CKPT, "serve", "runs", "--json"]
    with subprocess.Popen(command, cwd=work, env=environment(), stdout=subprocess.PIPE, text=True) as server:
        try:
            told = json.loads(server.stdout.readline())
            # Before it answers it has not begun, and Ctrl-C ends it as it ends any command.
            urllib.request.urlopen(told["address"], timeout=60).close()
        finally:
            server.send_signal(signal.SIGINT)
        assert told["folder"] == "runs"
        assert Run(server.wait(30), server.stdout.read(), "").document["result"] == told


def test_other_machines_are_let_in_only_where_that_is_said(ckpt, work):
    done = ckpt("serve", "runs", "--host", "0.0.0.0")
    assert (done.code, done.err) == (
        2,
        "error: 0.0.0.0: would let other machines look at every checkpoint; add --allow-remote if that is meant\n",
    )


def test_a_folder_that_is_not_there_is_said(ckpt, work):
    done = ckpt("serve", "none")
    assert (done.code, done.err) == (2, "error: none: no such folder; check the path\n")
    (work / "file").touch()
    assert ckpt("serve", "file").err == "error: file: is a file, not a folder; check the path\n"
