"""The recipes of docs/ run as their readers run them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.rl.load import load_model_checkpoint

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
RECIPE = DOCS / "recipes/single_file_dqn.py"


def run(*words, cwd):
    command = [sys.executable, "-P", *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_single_file_trainer_saves_checkpoints_that_play_without_it(tmp_path):
    run(RECIPE, "--total-timesteps", 300, "--save-frequency", 150, "--num-envs", 2, cwd=tmp_path)
    first, last = sorted(tmp_path.glob("runs/*/*"))
    assert [first.name, last.name] == ["step-150", "step-300"]
    assert ckptfmt.validate(last).valid
    assert not ckptfmt.diff(first, last).same
    model, config, info = load_model_checkpoint(last)
    assert (config.get_architecture_name(), config.input_scale, config.n_action) == ("dqn", 255.0, 3)
    assert (info["frame_idx"], info["training_config"]["save_frequency"]) == (300, 150)
    assert model.get_q_values(torch.zeros(1, 4, 36, 36)).shape == (1, 3)
    with ckptfmt.open(last) as checkpoint:
        environment = checkpoint.manifest.environment
        assert (environment["id"], environment["frame_stack"], environment["wrappers"]) == ("ckptfmt/Catch-v0", 4, [])


def test_it_runs_on_an_atari_game(tmp_path):
    run(RECIPE, "--env-id", "ALE/Pong-v5", "--total-timesteps", 220, "--save-frequency", 220, cwd=tmp_path)
    (path,) = tmp_path.glob("runs/*/*")
    _, config, _ = load_model_checkpoint(path)
    assert (config.input_shape, config.n_action, config.hidden_size) == ((4, 84, 84), 6, 512)
    with ckptfmt.open(path) as checkpoint:
        environment = checkpoint.manifest.environment
    assert (environment["frame_skip"], environment["screen_size"], environment["noop_max"]) == (4, 84, 30)


def test_ckptfmt_takes_no_more_than_five_lines_of_it():
    text = RECIPE.read_text()
    marked = re.findall(r"^(?!\"\"\").*# ckptfmt$", text, re.MULTILINE)
    assert len(marked) <= 5


def test_processes_that_train_together_write_one_checkpoint(tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    lines = sorted(run(*launcher, DOCS / "recipes/ddp.py", "runs/ddp", cwd=tmp_path).splitlines())
    assert [line.rpartition(":")[0] for line in lines] == [
        f"rank {rank}, step {step}: sha256" for rank in (0, 1) for step in (10, 20)
    ]
    assert [line.rpartition(":")[2] for line in lines[:2]] == [line.rpartition(":")[2] for line in lines[2:]]
    assert sorted(path.name for path in (tmp_path / "runs/ddp").iterdir()) == ["step-10", "step-20"]
    assert ckptfmt.validate(tmp_path / "runs/ddp/step-20").valid


def test_a_package_brings_a_family_and_takes_it_away_again(tmp_path):
    target = tmp_path / "site"
    shutil.copytree(DOCS / "recipes/plug_in", tmp_path / "plug_in")
    words = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", target, tmp_path / "plug_in"]
    run("-m", *words, cwd=tmp_path)
    torch.save({"theta": torch.arange(8.0).view(2, 4)}, tmp_path / "linear.pt")

    def ckpt(*words):
        env = {**os.environ, "PYTHONPATH": str(target)}
        command = [sys.executable, "-P", "-m", "ckptfmt", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)

    told = ckpt("families", "linear-agents/linear-q")
    assert (told.returncode, told.stderr) == (0, "")
    assert "from     linear-agents 1.0" in told.stdout
    made = ckpt("convert", "linear.pt", "out")
    assert made.returncode == 0, made.stderr
    assert "network  linear-agents/linear-q/linear (1 of 1 tensors placed)" in made.stdout
    played = ckpt("play", "out", "--game", "CartPole-v1", "--episodes", 1)
    assert played.returncode == 0, played.stderr
    shutil.rmtree(target)
    assert ckpt("families", "linear-agents/linear-q").returncode == 2
    valid = ckpt("validate", "out")
    assert (valid.returncode, "which is not installed" in valid.stdout) == (0, True)
    gone = ckpt("play", "out", "--game", "CartPole-v1", "--episodes", 1)
    assert gone.returncode == 2
    assert "its network is of the family linear-agents/linear-q, which is not installed" in gone.stderr
