"""Two real processes whose trainer is another library's: all save together, each its own state."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")
pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")

import ckptfmt
from ckptfmt.store.manager import CheckpointManager
from tests.rl.launch import torchrun

_SCRIPT = """
import hashlib, logging, sys, warnings
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
warnings.simplefilter("ignore")
from torch import distributed
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.rl.integrations import sb3
from tests.rl.test_sb3 import make_model

distributed.init_process_group("gloo")
rank, folder = distributed.get_rank(), sys.argv[1]

def say(name, *values):
    sys.stdout.write(" ".join(map(str, [name, rank, *values])) + "\\n")

def make(seed):
    model = make_model()
    model.set_random_seed(seed)
    for parameter in model.q_net.parameters():
        distributed.broadcast(parameter.data, src=0)
        parameter.register_hook(mean)
    model.q_net_target.load_state_dict(model.q_net.state_dict())
    return model

def mean(gradient):
    distributed.all_reduce(gradient)
    return gradient / 2

model = make(rank)
saves = CheckpointManager(folder + "/sb3", keep_last=2, background=True)
model.learn(60, callback=sb3.SaveCheckpoints(saves, every=20))
saves.close()
other = make(5 + rank)
lacks = sb3.resume(other, folder + "/sb3/step-000000000060")
same = [torch.equal(a, b) for a, b in zip(model.policy.parameters(), other.policy.parameters())]
say("sb3", lacks, all(same), (model.replay_buffer.observations == other.replay_buffer.observations).all())
say("seen", hashlib.sha256(model.replay_buffer.actions).hexdigest())

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
import lightning
from ckptfmt.rl.envs import Environment, make_env
from ckptfmt.rl.integrations.adopt import adopt
from ckptfmt.rl.integrations.lightning import SaveCheckpoints
from tests.rl.test_lightning import Agent

agent = Agent()
torch.manual_seed(rank)
data = torch.utils.data.TensorDataset(torch.randint(0, 256, (64, 4, 36, 36)).float(), torch.rand(64, 3))
env = make_env(Environment(id="ckptfmt/Catch-v0"))
callback = SaveCheckpoints(folder + "/lightning", adopt(agent.q_network, env), every=4)
trainer = lightning.Trainer(
    max_steps=10, callbacks=[callback], accelerator="cpu", devices=2, strategy="ddp", logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(agent, torch.utils.data.DataLoader(data, batch_size=4))
digest = hashlib.sha256()
for parameter in agent.q_network.parameters():
    digest.update(parameter.detach().numpy().tobytes())
say("lightning", trainer.world_size, digest.hexdigest())
# They hold the group, and with it the threads of gloo.
del trainer, callback, agent
if distributed.is_initialized():
    distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("periodic")
    return folder, torchrun(folder, _SCRIPT, folder, Path(__file__).parents[2])


def test_stable_baselines_goes_on_in_each_rank_with_what_was_its_own(said):
    folder, lines = said
    assert lines["sb3", 0] == lines["sb3", 1] == "('environments',) True True"
    assert lines["seen", 0] != lines["seen", 1]
    assert CheckpointManager(folder / "sb3").steps() == [60, 40]
    with ckptfmt.open(folder / "sb3" / "step-000000000060") as checkpoint:
        assert checkpoint.manifest.resume.lacks == ("environments",)
        assert "replay-00002-of-00002.safetensors" in checkpoint.manifest.files
    assert ckptfmt.validate(folder / "sb3" / "step-000000000060").valid


def test_lightning_saves_once_what_all_ranks_learn(said):
    folder, lines = said
    assert lines["lightning", 0] == lines["lightning", 1]
    assert lines["lightning", 0].startswith("2 ")
    manager = CheckpointManager(folder / "lightning")
    assert manager.steps() == [10, 8, 4]
    assert all(ckptfmt.validate(manager.path(step)).valid for step in manager.steps())
