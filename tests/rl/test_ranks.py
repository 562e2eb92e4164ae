"""Two real processes: none waits for ever, whatever goes wrong in the one that writes."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.rl.ranks import once
from ckptfmt.rl.training.exact import assert_resume_exact
from tests.rl.launch import torchrun

_SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from torch import distributed, nn
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.rl.integrations.periodic import PeriodicSaves
from ckptfmt.rl.save import save_model_checkpoint
from ckptfmt.rl.state import TrainingState

distributed.init_process_group("gloo")
rank, folder = distributed.get_rank(), sys.argv[1]


def attempt(name, action):
    try:
        said = action()
    except Exception as e:
        said = f"{type(e).__name__} {getattr(e, 'code', '')}".strip()
    sys.stdout.write(f"{name} {rank} {said}\\n")


class Broken(TrainingState):
    def capture(self, **how):
        if self.counters["where"] == rank:
            raise RuntimeError("the emulator is gone")
        return super().capture(**how)


net = nn.Linear(3, 2)
nn.init.constant_(net.bias, rank)
attempt("save", lambda: save_model_checkpoint(net, None, {"rank": rank}, folder + "/a").training_info["rank"])
for where in (0, 1):
    state = Broken(counters={"where": where})
    attempt(f"broken-{where}", lambda: save_model_checkpoint(net, None, None, folder + "/b", state=state))
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
    return folder, torchrun(folder, _SCRIPT, folder)


def test_every_rank_gets_the_manifest_that_rank_0_wrote(said):
    folder, lines = said
    assert (lines["save", 0], lines["save", 1]) == ("0", "0")
    with ckptfmt.open(folder / "a") as checkpoint:
        assert checkpoint.tensors["bias"].tolist() == [0.0, 0.0]


def test_an_error_of_any_kind_in_one_rank_reaches_the_others(said):
    folder, lines = said
    assert (lines["broken-0", 0], lines["broken-0", 1]) == ("RuntimeError", "WriteError write.other-rank")
    assert (lines["broken-1", 0], lines["broken-1", 1]) == ("WriteError write.other-rank", "RuntimeError")
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


_TRAIN = """
import sys, numpy as np, torch
from zlib import crc32
torch.set_num_threads(1)
from torch import distributed, nn
from ckptfmt import ModelConfig, create_model_from_config, save_model_checkpoint
from ckptfmt.rl.envs import Environment, make_env
from ckptfmt.rl.rng import seed_global
from ckptfmt.rl.state import TrainingState
from ckptfmt.rl.stored import read_tensors
from ckptfmt.rl.training.replay import Replay
from ckptfmt.store.checkpoint import Checkpoint

distributed.init_process_group("gloo")
rank, (resumed, out, until) = distributed.get_rank(), (sys.argv[1], sys.argv[2], int(sys.argv[3]))
torch.manual_seed(0)
config = ModelConfig(n_action=3, input_shape=(2, 36, 36), hidden_size=8, input_scale=255)
plain = create_model_from_config(config)
ema = torch.optim.swa_utils.AveragedModel(plain)
net = nn.parallel.DistributedDataParallel(plain)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
seed_global(rank)
rng = np.random.default_rng(rank)
env = make_env(Environment(id="ckptfmt/Catch-v0", frame_stack=2))
replay = Replay(90, (1, 36, 36), frame_stack=2, seed=rank)
step, seen = 0, env.reset(seed=rank)[0]

def state():
    counters = {"step": step, "seen": seen}
    return TrainingState(optimizer=optimizer, target=ema, generators={"rng": rng}, environments=[env],
                         counters=counters, replay=replay, unused=["schedulers"])

if resumed != "-":
    with Checkpoint(resumed) as checkpoint:
        plain.load_state_dict(read_tensors(checkpoint))
        mine = state()
        counters = mine.restore(checkpoint)
        step, seen = counters["step"], counters["seen"]
    sys.stdout.write(f"lacks {rank} {mine.lacks}\\n")
while step < until:
    action = int(rng.integers(3))
    after, reward, terminated, truncated, _ = env.step(action)
    replay.add(0, seen, action, reward, terminated, truncated, after)
    seen = env.reset()[0] if terminated or truncated else after
    step += 1
    if len(replay) > 20:
        batch = replay.sample(4)
        loss = (net(torch.from_numpy(batch.observations)).sum(1) - torch.from_numpy(batch.returns)).square().mean()
        optimizer.zero_grad()
        (loss + torch.rand(()) * loss).backward()
        optimizer.step()
        ema.update_parameters(plain)
save_model_checkpoint(net, config, {"step": step}, out, state=state())
sys.stdout.write(f"replay {rank} {crc32(replay.frames.tobytes())}\\n")
# It holds the group: as long as it lives, so do the threads of gloo.
del net
distributed.destroy_process_group()
"""


def test_every_rank_goes_on_with_what_was_its_own(tmp_path):
    torchrun(tmp_path, _TRAIN, "-", tmp_path / "one", 120)
    torchrun(tmp_path, _TRAIN, "-", tmp_path / "half", 70)
    lines = torchrun(tmp_path, _TRAIN, tmp_path / "half", tmp_path / "two", 120)
    assert_resume_exact(tmp_path / "one", tmp_path / "two")
    assert (lines["lacks", 0], lines["lacks", 1]) == ("()", "()")
    assert lines["replay", 0] != lines["replay", 1]
    assert ckptfmt.validate(tmp_path / "two").valid
    lines = torchrun(tmp_path, _TRAIN, tmp_path / "half", tmp_path / "three", 70, ranks=3)
    assert {lines["lacks", rank] for rank in range(3)} == {"('ranks: saved by 2, resumed by 3',)"}
    assert len({lines["replay", rank] for rank in range(3)}) == 3  # that of the third is empty


_SPREAD = """
import sys, torch
torch.set_num_threads(1)
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from ckptfmt import ModelConfig, create_model_from_config, save_model_checkpoint
from ckptfmt.rl.state import TrainingState
from ckptfmt.store.checkpoint import Checkpoint

distributed.init_process_group("gloo")
rank, folder = distributed.get_rank(), sys.argv[1]
config = ModelConfig(n_action=3, input_shape=(2, 36, 36), hidden_size=8, input_scale=255)

def make():
    torch.manual_seed(0)
    net = create_model_from_config(config)
    fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
    return net, torch.optim.Adam(net.parameters(), lr=1e-3)

def train(net, optimizer, seed):
    torch.manual_seed(seed)
    net(torch.randint(0, 256, (4, 2, 36, 36))).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()

net, optimizer = make()
train(net, optimizer, 1)
unused = ["target", "schedulers", "generators", "environments", "counters", "replay"]
state = TrainingState(optimizer=optimizer, target=net, unused=unused)
save_model_checkpoint(net, config, None, folder + "/a", state=state)
train(net, optimizer, 2)
other, others = make()
with Checkpoint(folder + "/a") as checkpoint:
    TrainingState(optimizer=others, target=other, unused=unused).restore(checkpoint)
train(other, others, 2)
same = [torch.equal(a.full_tensor(), b.full_tensor()) for a, b in zip(net.parameters(), other.parameters())]
sys.stdout.write(f"same {rank} {all(same)}\\n")
distributed.destroy_process_group()
"""


def test_a_network_that_is_spread_over_ranks_is_saved_whole_and_goes_on(tmp_path):
    lines = torchrun(tmp_path, _SPREAD, tmp_path)
    assert (lines["same", 0], lines["same", 1]) == ("True", "True")
    assert ckptfmt.validate(tmp_path / "a").valid
    model = ckptfmt.load_model_checkpoint(tmp_path / "a")[0]
    assert model.conv[0].weight.shape == (32, 2, 8, 8)
    assert torch.isfinite(model.get_q_values(torch.zeros(1, 2, 36, 36))).all()
