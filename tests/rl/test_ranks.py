"""Two real processes: none waits for ever, whatever goes wrong in the one that writes."""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.rl.ranks import once

_SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from torch import distributed, nn
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.rl.integrations.periodic import PeriodicSaves
from ckptfmt.rl.save import save_model_checkpoint

distributed.init_process_group("gloo")
rank, folder = distributed.get_rank(), sys.argv[1]


def attempt(name, action):
    try:
        said = action()
    except Exception as e:
        said = f"{type(e).__name__} {getattr(e, 'code', '')}".strip()
    sys.stdout.write(f"{name} {rank} {said}\\n")


class Broken:
    def capture(self):
        raise RuntimeError("the emulator is gone")


net = nn.Linear(3, 2)
nn.init.constant_(net.bias, rank)
attempt("save", lambda: save_model_checkpoint(net, None, {"rank": rank}, folder + "/a").training_info["rank"])
attempt("broken", lambda: save_model_checkpoint(net, None, None, folder + "/b", state=Broken()))
saves = PeriodicSaves(CheckpointManager(folder + "/run", keep_last=1), 5)
attempt("due", lambda: [saves.is_due(step) for step in (4, 5)])
attempt("periodic", lambda: saves.save(5, net, None, {}))
nn.init.constant_(net.bias, float("nan") if rank == 0 else 1.0)
attempt("nan", lambda: save_model_checkpoint(net, None, None, folder + "/c"))
attempt("periodic-nan", lambda: saves.save(10, net, None, {}))
attempt("left", lambda: (saves.last, saves.manager.steps()))
distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "train.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        [*command, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder, dict(map(_parted, done.stdout.splitlines()))


def _parted(line):
    name, rank, text = line.split(" ", 2)
    return (name, int(rank)), text


def test_every_rank_gets_the_manifest_that_rank_0_wrote(said):
    folder, lines = said
    assert (lines["save", 0], lines["save", 1]) == ("0", "0")
    with ckptfmt.open(folder / "a") as checkpoint:
        assert checkpoint.tensors["bias"].tolist() == [0.0, 0.0]


def test_an_error_of_any_kind_in_rank_0_reaches_the_others(said):
    folder, lines = said
    assert (lines["broken", 0], lines["broken", 1]) == ("RuntimeError", "WriteError write.other-rank")
    assert not (folder / "b").exists()


def test_nan_weights_of_rank_0_alone_leave_nobody_waiting(said):
    folder, lines = said
    assert (lines["nan", 0], lines["nan", 1]) == ("WeightsError weights.nan", "WriteError write.other-rank")
    assert not (folder / "c").exists()


def test_periodic_saves_are_written_once_and_counted_by_all(said):
    _, lines = said
    for rank in (0, 1):
        assert lines["due", rank] == "[False, True]"
        assert lines["periodic", rank] == "None"
        assert lines["left", rank] == "(5, [5])"
    assert lines["periodic-nan", 1] == "WriteError write.other-rank"


def test_a_process_by_itself_just_runs_the_action():
    same = {"encode": bytes, "decode": bytes, "where": ""}
    assert once(lambda: b"done", **same) == b"done"
