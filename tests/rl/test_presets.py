"""Published settings by name: valid, named with their source in the guide, overridden by files and options."""

import json
import subprocess
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ckptfmt.errors import CkptError
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.presets import PRESETS, preset_settings

from .test_commands import command

GUIDE = Path(__file__).parents[2] / "docs" / "training.md"


def dry(*words):
    done = subprocess.run(command("train", *words, "--dry-run", "--json"), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["result"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_training_and_the_guide_says_what_it_differs_in(name):
    config = TrainConfig(**preset_settings(name))
    assert {key: getattr(config, key) for key in PRESETS[name].settings} == dict(PRESETS[name].settings)
    assert f"| `{name}` |" in GUIDE.read_text()


def test_files_win_over_a_preset_and_options_over_both(tmp_path):
    (tmp_path / "a.yaml").write_text("gamma: 0.9\nseed: 5\n")
    settings = dry("--preset", "cleanrl", "--config", tmp_path / "a.yaml", "--seed", "6")
    assert (settings["gamma"], settings["seed"], settings["target_every"]) == (0.9, 6, 1_000)


def test_rainbow_is_the_published_one():
    published = dry("--rainbow")
    assert published == dry("--preset", "rainbow")
    assert (published["learning_rate"], published["replay_size"]) == (6.25e-5, 1_000_000)


def test_what_excludes_a_preset_is_said():
    for words, sentence in (
        (["--rainbow", "--preset", "cleanrl"], "--rainbow is --preset rainbow, and another preset was given"),
        (["--resume", "x", "--preset", "cleanrl"], "--preset and --resume exclude each other; a checkpoint holds its"),
    ):
        done = subprocess.run(command("train", *words), capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert sentence in done.stderr
    with pytest.raises(CkptError, match="there is no preset nature; use rainbow"):
        preset_settings("nature")
