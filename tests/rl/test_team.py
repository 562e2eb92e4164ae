"""Two real processes that train one network, as torchrun starts them."""

import json
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.exact import assert_resume_exact
from ckptfmt.rl.training.train import Trainer
from ckptfmt.store.manager.steps import step_name
from tests.rl.launch import torchrun

SETTINGS = {
    "env": "ckptfmt/Catch-v0",
    "num_envs": 2,
    "screen_size": 36,
    "hidden_size": 8,
    "double_dqn": True,
    "noisy_networks": True,
    "prioritized_replay": True,
    "batch_size": 4,
    "learning_starts": 40,
    "replay_size": 200,
    "train_every": 2,
    "target_every": 40,
    "total_steps": 240,
    "save_every": 120,
    "save_replay": "always",
    "eval_every": 100,
    "eval_episodes": 1,
    "log_every": 100,
    "tensorboard": False,
    "threads": 1,
}

_TRAIN = """
import hashlib, json, sys
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.team import joined
from ckptfmt.rl.training.train import Trainer
from ckptfmt.store.manager.steps import step_name

settings, folder = json.loads(sys.argv[1]), sys.argv[2]
with joined():
    trainer = Trainer(TrainConfig(**settings), folder + "/one")
    number = trainer.team.rank
    def say(name, *values):
        sys.stdout.write(" ".join(map(str, [name, number, *values])) + "\\n")
    trainer.run()
    say("actions", trainer.replay.counts.tolist(), trainer.step, trainer.updates)
    digest = hashlib.sha256()
    for tensor in trainer.learner.online.parameters():
        digest.update(tensor.detach().numpy().tobytes())
    say("weights", digest.hexdigest())
    say("frames", hashlib.sha256(trainer.replay.frames).hexdigest())
    resumed = Trainer.resume(f"{folder}/one/{step_name(120)}", folder + "/two")
    say("resumed", resumed.lacks, resumed.changed)
    if number == 1:
        # Told to one of them alone, in the middle of the training.
        resumed.on_event = lambda event: resumed.stop()
    say("stopped", resumed.run())
    again = Trainer.resume(f"{folder}/two/{step_name(resumed.step)}", folder + "/two")
    again.run()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    return folder, torchrun(folder, _TRAIN, json.dumps(SETTINGS), folder)


def test_processes_learn_one_network_each_from_games_of_its_own(trained):
    folder, said = trained
    assert said["weights", 0] == said["weights", 1]
    assert said["frames", 0] != said["frames", 1]
    assert said["actions", 0].endswith(" 240 100")
    with ckptfmt.open(folder / "one" / step_name(240)) as checkpoint:
        assert checkpoint.training_info["ranks"] == 2
        assert sorted(checkpoint.manifest.files) == [
            "replay-00001-of-00002.safetensors",
            "replay-00002-of-00002.safetensors",
            "state-00001-of-00002.safetensors",
            "state-00002-of-00002.safetensors",
            "weights.safetensors",
        ]
        assert checkpoint.manifest.resume.lacks == ()
    assert ckptfmt.validate(folder / "one" / step_name(240)).valid
    assert ckptfmt.validate(folder / "one" / "best").valid


def test_a_stop_of_one_stops_all_at_one_step_and_they_go_on_exactly(trained):
    folder, said = trained
    assert said["resumed", 0] == said["resumed", 1] == "() {}"
    assert said["stopped", 0] == said["stopped", 1]
    assert step_name(240) not in said["stopped", 0]
    assert_resume_exact(folder / "one" / step_name(240), folder / "two" / step_name(240))


def test_one_process_goes_on_with_what_two_saved_and_says_what_it_lacks(trained, tmp_path):
    folder, _ = trained
    trainer = Trainer.resume(folder / "one" / step_name(120), tmp_path)
    assert trainer.lacks == ("ranks: saved by 2, resumed by 1",)
    assert trainer.run() == str(tmp_path / step_name(240))


def test_more_processes_go_on_with_games_of_their_own(tmp_path):
    alone = {**SETTINGS, "total_steps": 120}
    Trainer(TrainConfig(**alone), tmp_path / "one").run()
    out = subprocess.run(
        [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "ckptfmt",
         "train", "--resume", tmp_path / "one" / step_name(120), "--out", tmp_path / "two", "--total-steps", "280"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert "lacks ranks: saved by 1, resumed by 2" in out.stderr
    assert out.stdout.splitlines()[0] == "noisy on ckptfmt/Catch-v0, 79,078 parameters, cpu, seed 1, 2 ranks"
    assert out.stdout.splitlines()[-1] == f"saved {tmp_path / 'two' / step_name(280)}"
    assert ckptfmt.validate(tmp_path / "two" / step_name(280)).valid
