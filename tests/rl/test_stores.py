"""Networks loaded from a bucket and from the hub, by the calls that the documents show."""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("obstore", reason="the extra remote is not installed")

import ckptfmt
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.share.export import export
from ckptfmt.share.push import push
from tests.remote.conftest import bucket, s3, seaweed

__all__ = ["bucket", "s3", "seaweed"]

CONFIG = ModelConfig(n_action=6, input_scale=255.0, hidden_size=64, dueling_dqn=True)
# In a process of its own: the hub's client reads its settings when it is imported.
PROGRAM = """
import sys, torch, ckptfmt, huggingface_hub
from ckptfmt.cli.main import main
from ckptfmt.rl.hub import Agent
main(["push", sys.argv[2], "hf://owner/agent", "--quiet"])
main(["validate", "hf://owner/agent"])
torch.set_num_threads(1)
frames = torch.randint(0, 256, (2, 4, 84, 84), generator=torch.Generator().manual_seed(0)).float()
path = huggingface_hub.snapshot_download("owner/agent")
models = [
    ckptfmt.load_model_checkpoint(sys.argv[1])[0],
    ckptfmt.load_model_checkpoint(path)[0],
    ckptfmt.load_model_checkpoint("hf://owner/agent")[0],
    Agent.from_pretrained("owner/agent", strict=True),
]
with torch.no_grad():
    answers = [model.eval()(frames) for model in models]
print([torch.equal(answers[0], answer) for answer in answers], ckptfmt.validate(path).problems)
"""


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = ckptfmt.create_model_from_config(CONFIG)
    ckptfmt.save_model_checkpoint(model, CONFIG, {"step": 5}, tmp_path / "saved")
    return tmp_path / "saved", model.eval()


def test_a_network_loads_from_a_bucket_and_is_saved_into_one(bucket, saved):
    path, model = saved
    push(path, f"{bucket}/pushed")
    ckptfmt.save_model_checkpoint(model, CONFIG, {"step": 6}, f"{bucket}/saved")
    frames = torch.randint(0, 256, (2, 4, 84, 84)).float()
    for name, step in (("pushed", 5), ("saved", 6)):
        loaded, config, info = ckptfmt.load_model_checkpoint(f"{bucket}/{name}")
        assert (config.get_architecture_name(), info["step"]) == (CONFIG.get_architecture_name(), step)
        with torch.no_grad():
            assert torch.equal(loaded.eval()(frames), model(frames))


def test_a_folder_that_was_pushed_to_the_hub_loads_by_each_of_its_loaders(saved, tmp_path):
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    from tests.remote import hub as hubs

    path, _ = saved
    export(path, tmp_path / "agent", to="hub")
    with hubs.serving() as hub:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "agent")],
            env={**os.environ, **hubs.environment(hub, tmp_path / "home")}, capture_output=True, text=True,
        )  # fmt: skip
    assert done.stdout.splitlines() == [
        "✓ hf://owner/agent",
        "1 checkpoint, valid",
        "[True, True, True, True] ()",
    ], done.stderr
