"""Every setting, changed on a resume: the same course, another one that is named, or a refusal with the reason."""

import dataclasses
import shutil

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.rl.stored import read_tensors
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.exact import assert_resume_exact
from ckptfmt.rl.training.presets import TECHNIQUES as RAINBOW
from ckptfmt.rl.training.resume import FREE, REFUSED
from ckptfmt.rl.training.train import Trainer
from ckptfmt.store.manager.steps import step_name

from .test_train import TINY

SETTINGS = {
    **TINY,
    "double_dqn": True,
    "prioritized_replay": True,
    "n_step_learning": True,
    "total_steps": 150,
    "replay_beta_steps": 400,
    "learning_starts": 40,
    "learning_rate": 1e-2,
    "replay_size": 90,
    "eval_every": 40,
    "eval_episodes": 1,
    "eval_epsilon": 0.2,
    "save_every": 100,
    "save_replay": "always",
    "epsilon_steps": 300,
}
# One new value for each setting, which makes a difference within 50 steps where it makes one at all.
OTHER = {
    "env": "ALE/Pong-v5",
    "frame_skip": 2,
    "frame_stack": 3,
    "screen_size": 30,
    "grayscale": False,
    "noop_max": 3,
    "sticky_actions": 0.5,
    "terminal_on_life_loss": True,
    "fire_reset": True,
    "max_episode_steps": 5,
    "clip_rewards": False,
    "num_envs": 2,
    "env_processes": 1,
    "overlap": True,
    "double_dqn": False,
    "dueling_dqn": True,
    "distributional_dqn": True,
    "noisy_networks": True,
    "quantile_dqn": True,
    "implicit_quantile_dqn": True,
    "n_quantiles": 7,
    "hidden_layers": 3,
    "precision": "bfloat16",
    "channels_last": True,
    "compile": True,
    "threads": 2,
    "prioritized_replay": False,
    "n_step_learning": False,
    "encoder": "nature",
    "hidden_size": 17,
    "n_atoms": 21,
    "v_min": -3.0,
    "v_max": 3.0,
    "noisy_std_init": 0.1,
    "n_steps": 2,
    "total_steps": 160,
    "learning_starts": 45,
    "train_every": 3,
    "target_every": 7,
    "batch_size": 9,
    "replay_size": 300,
    "replay_alpha": 0.9,
    "replay_beta": 0.9,
    "replay_beta_steps": 110,
    "learning_rate": 5e-4,
    "adam_eps": 0.1,
    "max_grad_norm": 1e-4,
    "gamma": 0.5,
    "epsilon_start": 0.5,
    "epsilon_end": 0.5,
    "epsilon_steps": 50,
    "seed": 2,
    "device": "auto",
    "eval_every": 30,
    "eval_episodes": 2,
    "eval_epsilon": 1.0,
    "eval_max_frames": 5,
    "log_every": 7,
    "save_every": 35,
    "keep": 1,
    "save_replay": "last",
    "compress": True,
    "tensorboard": True,
}


# They may change the order in which numbers are added up, and need not.
ROUNDING = ("channels_last", "compile", "threads")


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A training that was not interrupted, its checkpoint in the middle kept."""
    out = tmp_path_factory.mktemp("begun")
    trainer = Trainer(TrainConfig(**SETTINGS), out)
    trainer.advance(100)
    middle = shutil.copytree(out / step_name(100), out.parent / "middle")
    trainer.run()
    trainer.close()
    return middle, out / step_name(150)


def go_on(middle, tmp_path, **changes):
    trainer = Trainer.resume(middle, tmp_path / "on", **changes)
    trainer.advance(150)
    trainer._save("last")
    trainer.close()
    return trainer, tmp_path / "on" / step_name(150)


def assert_close(one, other):
    with ckptfmt.open(one) as first, ckptfmt.open(other) as second:
        mine, theirs = read_tensors(first), read_tensors(second)
        assert all(torch.allclose(tensor, theirs[name], atol=1e-5) for name, tensor in mine.items())


def test_there_is_another_value_of_every_setting():
    assert set(OTHER) == {field.name for field in dataclasses.fields(TrainConfig)}
    assert not FREE & REFUSED.keys()


def test_nothing_changed_is_exact(begun, tmp_path):
    middle, last = begun
    trainer, resumed = go_on(middle, tmp_path)
    assert trainer.changed == {}
    assert_resume_exact(last, resumed)


# torch's own compiler is written with what torch calls deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(OTHER))
def test_a_changed_setting_is_exact_or_named_or_refused(name, begun, tmp_path):
    middle, last = begun
    was = getattr(TrainConfig(**SETTINGS), name)
    if name in REFUSED:
        with pytest.raises(CkptError) as caught:
            Trainer.resume(middle, tmp_path / "on", **{name: OTHER[name]})
        assert str(caught.value) == (
            f"{middle}: {name} stays {was!r}, {REFUSED[name]}; leave it out, or start a new training"
        )
        return
    threads = torch.get_num_threads()
    trainer, resumed = go_on(middle, tmp_path, **{name: OTHER[name]})
    torch.set_num_threads(threads)
    with ckptfmt.open(resumed) as checkpoint:
        info = checkpoint.training_info
    assert info["training_config"][name] == OTHER[name] == getattr(trainer.config, name)
    if name in FREE or name == "device":
        assert trainer.changed == {}
        assert_resume_exact(last, resumed)
    else:
        assert trainer.changed == {name: [was, OTHER[name]]}
        assert info["resumes"] == [{"step": 100, "changed": {name: [was, OTHER[name]]}, "lacks": []}]
        if name in ROUNDING:
            assert_close(last, resumed)
        else:
            with pytest.raises(AssertionError):
                assert_resume_exact(last, resumed)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_training_goes_on_exactly(tmp_path):
    trainer = Trainer(TrainConfig(**SETTINGS, compile=True), tmp_path / "one")
    last = trainer.run()
    trainer.close()
    resumed, other = go_on(tmp_path / "one" / step_name(100), tmp_path)
    assert (resumed.lacks, resumed.changed) == ((), {})
    assert_resume_exact(last, other)


def test_the_optimizer_uses_the_new_settings(begun, tmp_path):
    middle, _ = begun
    trainer = Trainer.resume(middle, tmp_path / "on", learning_rate=5e-4, adam_eps=0.25)
    assert [(group["lr"], group["eps"]) for group in trainer.learner.optimizer.param_groups] == [(5e-4, 0.25)]


def test_settings_that_cannot_change_are_all_told_at_once(begun, tmp_path):
    middle, _ = begun
    with pytest.raises(CkptError) as caught:
        Trainer.resume(middle, tmp_path / "on", hidden_size=32, seed=9, gamma=0.5)
    assert str(caught.value) == (
        f"{middle}: these settings cannot change: "
        "hidden_size stays 16, the network in the checkpoint was made with it; "
        "seed stays 1, it decides how a training begins, and this one has begun; leave it out, or start a new training"
    )
    assert not (tmp_path / "on").exists()


def test_more_steps_do_not_bend_the_schedules():
    before = TrainConfig(**{**TINY, "prioritized_replay": True})
    after = before.replace(total_steps=10_000)
    assert before.replay_beta_steps == after.replay_beta_steps == 300
    assert [before.beta(step) for step in range(400)] == [after.beta(step) for step in range(400)]
    assert [before.epsilon(step) for step in range(400)] == [after.epsilon(step) for step in range(400)]


def test_a_prioritised_training_that_is_given_more_steps_goes_on_exactly(tmp_path):
    settings = {**TINY, **RAINBOW, "replay_beta_steps": 300}
    short = Trainer(TrainConfig(**{**settings, "total_steps": 150}), tmp_path / "short").run()
    Trainer(TrainConfig(**settings), tmp_path / "one").run()
    resumed = Trainer.resume(short, tmp_path / "on", total_steps=300)
    assert resumed.changed == {}
    assert_resume_exact(tmp_path / "one" / step_name(300), resumed.run())
