"""Four real processes that save what is spread over them, and read it in other numbers."""

import os
import signal
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.store.clean import clean
from ckptfmt.store.merge import merge
from tests.rl.launch import torchrun

_LAYOUTS = """
import sys, torch
torch.set_num_threads(1)
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
import ckptfmt
from ckptfmt.rl.peers import Ranks
from ckptfmt.rl.pieces import fill_pieces
from ckptfmt.rl.state import TrainingState
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.manager import CheckpointManager

distributed.init_process_group("gloo")
rank, folder = distributed.get_rank(), sys.argv[1]


def say(name, said):
    sys.stdout.write(f"{name} {rank} {said}\\n")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(13, 21)  # 21 rows over 4 ranks: 6, 6, 6, 3
        self.norm = nn.BatchNorm1d(21)
        self.short = nn.Linear(21, 2)  # two ranks hold nothing of it
        self.tied = nn.Linear(13, 21, bias=False)
        self.tied.weight = self.first.weight
        self.empty = nn.Parameter(torch.zeros(0, 4))

    def forward(self, x):
        return self.short(self.norm(self.first(x))).sum() + self.tied(x).sum()


def spread(seed):
    torch.manual_seed(seed)
    net = Net()
    fully_shard(net, mesh=init_device_mesh("cpu", (4,)))
    return net, torch.optim.Adam(net.parameters(), lr=0.01)


def training(net, optimizer):
    unused = ["target", "schedulers", "generators", "environments", "replay"]
    return TrainingState(optimizer=optimizer, counters={"rank": rank}, unused=unused)


def train(net, optimizer):
    torch.manual_seed(5)
    for _ in range(2):
        net(torch.randn(4, 13)).square().backward()
        optimizer.step()
        optimizer.zero_grad()


net, optimizer = spread(0)
train(net, optimizer)
first = ckptfmt.save_model_checkpoint(
    net, None, {"step": 2}, folder + "/four", state=training(net, optimizer), sharded=True, patience=60)
say("digest", first.content_digest)
state = training(net, optimizer)
small = ckptfmt.save_model_checkpoint(net, None, None, folder + "/gathered", state=state, patience=60)
say("gathered", (small.content_digest, sorted(small.files)))

# From four ranks to four others: the training goes on as it would have.
other, others = spread(1)
ckptfmt.load_model_checkpoint(folder + "/four", model=other)
other.train()
with Checkpoint(folder + "/four") as checkpoint:
    mine = training(other, others)
    say("counters", (mine.restore(checkpoint), mine.lacks))
train(net, optimizer)
train(other, others)
same = [torch.equal(a.full_tensor(), b.full_tensor()) for a, b in zip(net.parameters(), other.parameters())]
say("goes-on", all(same))


class Laid:
    # A network whose tensors lie over the ranks in some way; those outside of the mesh hold nothing.
    def __init__(self, like, mesh, places):
        self.tensors = {
            name: distribute_tensor(torch.zeros_like(t), mesh, [p if t.ndim > getattr(p, "dim", 0) else Replicate()
                                    for p in places(t)]) if t.is_floating_point() else torch.zeros_like(t)
            for name, t in like.items()
        }
        self.tensors["tied.weight"] = self.tensors["first.weight"]

    def state_dict(self):
        return self.tensors


with Checkpoint(folder + "/four") as checkpoint:
    like = {name: torch.from_numpy(array.copy()) for name, array in checkpoint.tensors.items()}
grid = init_device_mesh("cpu", (2, 2))
layouts = {
    "three": (DeviceMesh("cpu", [0, 1, 2]), lambda t: [Shard(0)]),
    "two-columns": (DeviceMesh("cpu", [1, 3]), lambda t: [Shard(t.ndim - 1) if t.ndim else Replicate()]),
    "grid": (grid, lambda t: [Shard(0), Shard(1)]),
    "hybrid": (grid, lambda t: [Replicate(), Shard(0)]),
    "one": (DeviceMesh("cpu", [0]), lambda t: [Replicate()]),
    "four-again": (init_device_mesh("cpu", (4,)), lambda t: [Shard(0)]),
}
before = "/four"
for name, (mesh, places) in layouts.items():
    laid = Laid(like, mesh, places)
    with Checkpoint(folder + before) as checkpoint:
        fill_pieces(laid, checkpoint)
    saved = ckptfmt.save_model_checkpoint(laid, None, None, folder + f"/{name}", sharded=True, patience=60)
    say(name, (saved.content_digest, sorted(saved.files)))
    before = f"/{name}"

# The manager, saving while the training goes on, on a group of its own.
with CheckpointManager(folder + "/run", keep_last=1, background=True, peers=Ranks(60)) as manager:
    for step in (1, 2):
        manager.save(step, other.state_dict(), metrics={"reward": step})
        train(other, others)
distributed.barrier()
say("steps", manager.steps())


def attempt(name, action):
    try:
        said = action()
    except ckptfmt.CkptError as e:
        said = f"{e.code} {e.what}"
    say(name, said)


attempt("taken", lambda: ckptfmt.save_model_checkpoint(net, None, None, folder + "/four", sharded=True, patience=60))
with torch.no_grad():
    if rank == 2:
        net.first.weight.to_local()[0, 0] = float("nan")
attempt("nan", lambda: ckptfmt.save_model_checkpoint(net, None, None, folder + "/nan", sharded=True, patience=60))


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Parameter(torch.ones(2048, 4096))  # 32 MiB, and 64 MiB of moments


def made():
    net = Wide()
    fully_shard(net, mesh=init_device_mesh("cpu", (4,)))
    return net, torch.optim.Adam(net.parameters(), lr=0.01)


def memory(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) >> 10 for line in file if line.startswith(field))


net, optimizer = made()
net.wide.grad = torch.ones_like(net.wide)
optimizer.step()
ckptfmt.save_model_checkpoint(net, None, None, folder + "/wide", state=training(net, optimizer), patience=60)
net, optimizer = made()
with Checkpoint(folder + "/wide") as checkpoint:
    before = memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    training(net, optimizer).restore(checkpoint)
    say("memory", memory("VmHWM") - before)
moment = optimizer.state[net.wide]["exp_avg"]
say("moments", (type(moment).__name__, bool((moment.to_local() == 0.1).all())))
attempt("far", lambda: ckptfmt.save_model_checkpoint(
    other, None, None, "s3://bucket/x", sharded=True, patience=60))
distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    return folder, torchrun(folder, _LAYOUTS, folder, ranks=4)


def test_each_rank_writes_its_part_and_all_get_the_manifest(said):
    folder, lines = said
    assert len({lines["digest", rank] for rank in range(4)}) == 1
    names = sorted(path.name for path in (folder / "four").iterdir())
    assert [name for name in names if name.startswith("weights")] == [
        f"weights-0000{i}-of-00004.safetensors" for i in range(1, 5)
    ]
    assert ckptfmt.validate(folder / "four").problems == ()
    with ckptfmt.open(folder / "four") as checkpoint:
        assert checkpoint.manifest.weights.tied == {"tied.weight": "first.weight"}
        assert checkpoint.tensors["empty"].shape == (0, 4)
        assert checkpoint.tensors["norm.num_batches_tracked"] == 2


def test_what_is_small_is_gathered_into_one_file_and_is_the_same_network(said):
    folder, lines = said
    names = ["state.safetensors", "weights.safetensors"]
    assert lines["gathered", 3] == str((lines["digest", 0], names))
    assert ckptfmt.diff(folder / "four", folder / "gathered").weights == ()


def test_a_training_goes_on_in_every_rank(said):
    _, lines = said
    for rank in range(4):
        assert lines["counters", rank] == str(({"rank": rank}, ()))
        assert lines["goes-on", rank] == "True"


def test_no_rank_reads_more_of_an_optimizer_than_it_holds(said):
    _, lines = said
    for rank in range(4):
        assert lines["moments", rank] == "('DTensor', True)"
        # Of 64 MiB each holds 16, and reads one moment of 8 beside them.
        assert int(lines["memory", rank]) < 40


@pytest.mark.parametrize(
    ("layout", "parts"),
    [("three", 3), ("two-columns", 3), ("grid", 4), ("hybrid", 4), ("one", 1), ("four-again", 4)],
)
def test_however_it_lies_over_ranks_it_is_one_network(said, layout, parts):
    folder, lines = said
    for rank in range(4):
        assert lines[layout, rank].startswith(f"('{lines['digest', 0]}', ")
    assert lines[layout, 0].count("weights") == parts
    assert ckptfmt.validate(folder / layout).valid


def test_one_process_reads_and_merges_it(said, tmp_path):
    folder, lines = said
    for layout in ("four", "grid"):
        done = merge(folder / layout, tmp_path / layout)
        assert done.content_digest == lines["digest", 0]
        assert ckptfmt.validate(tmp_path / layout).valid
    one, other = ((tmp_path / layout / "weights.safetensors").read_bytes() for layout in ("four", "grid"))
    assert one == other


def test_a_manager_saves_in_the_background_and_rank_0_alone_keeps_house(said):
    folder, lines = said
    assert {lines["steps", rank] for rank in range(4)} == {"[2]"}
    assert [path.name for path in (folder / "run").iterdir()] == ["step-000000000002"]
    assert ckptfmt.validate(folder / "run" / "step-000000000002").valid


def test_what_one_rank_refuses_is_saved_by_none(said):
    folder, lines = said
    assert lines["taken", 0].startswith("write.exists exists and is not empty")
    assert lines["taken", 3] == "write.other-rank rank 0 could not begin: exists and is not empty"
    assert lines["nan", 2] == "weights.nan first.weight and 1 more tensors hold NaN or infinite numbers"
    assert lines["nan", 0].startswith("write.other-rank rank 2 could not give its tensors")
    assert {lines["far", rank] for rank in range(4)} == {
        "write.ranks-far is in a store, where ranks cannot write together"
    }
    assert not (folder / "nan").exists()
    assert clean(folder) == ()


_STRICKEN = """
import os, signal, sys, torch
torch.set_num_threads(1)
from torch import distributed
import ckptfmt
from ckptfmt.store.write import together

distributed.init_process_group("gloo")
rank, (folder, number) = distributed.get_rank(), sys.argv[1:]
write = together.write_files

def stricken(*args, **options):
    if rank == 1:
        os.kill(os.getpid(), int(number))
    return write(*args, **options)

together.write_files = stricken

class Net:
    def state_dict(self):
        return {"w": torch.ones(3)}

from ckptfmt.rl.state import TrainingState
state = TrainingState(counters={"rank": rank})
try:
    ckptfmt.save_model_checkpoint(Net(), None, None, folder + "/out", state=state, sharded=True, patience=4)
except ckptfmt.CkptError as e:
    sys.stdout.write(f"{e.code}\\n")
    sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stalled"])
def test_a_rank_that_is_gone_lets_all_others_raise_in_time_and_nothing_is_published(tmp_path, number):
    script = tmp_path / "train.py"
    script.write_text(_STRICKEN)
    (tmp_path / "runs").mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-P", str(script), str(tmp_path / "runs"), str(int(number))],
            env={**os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(29500 + os.getpid() % 1000 + int(number)), "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        said = started[0].communicate(timeout=120)[0].split()
    finally:
        started[1].kill()
        started[1].communicate()
    assert said == ["write.silent-rank"]
    clean(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []
