import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.events import Evaluated, Progress, Saved
from ckptfmt.rl.training.exact import assert_resume_exact
from ckptfmt.rl.training.presets import TECHNIQUES as RAINBOW
from ckptfmt.rl.training.train import Trainer
from ckptfmt.store.manager.steps import step_name

TINY = {
    "env": "ckptfmt/Catch-v0",
    "encoder": "nips",
    "hidden_size": 16,
    "n_atoms": 11,
    "v_min": -2.0,
    "v_max": 2.0,
    "frame_stack": 2,
    "learning_starts": 100,
    "replay_size": 2000,
    "total_steps": 300,
    "batch_size": 8,
    "target_every": 50,
    "log_every": 100,
    "eval_every": 1000,
    "save_every": 1000,
    "tensorboard": False,
    "device": "cpu",
}
COMBINATIONS = list(itertools.product([False, True], repeat=6))


@pytest.mark.parametrize("flags", COMBINATIONS, ids=lambda flags: "".join(str(int(flag)) for flag in flags))
def test_every_combination_of_techniques_trains(flags, tmp_path):
    config = TrainConfig(**{**TINY, **dict(zip(RAINBOW, flags, strict=True))}, save_replay="never")
    trainer = Trainer(config, tmp_path)
    before = trainer.learner.online.conv[0].weight.clone()
    path = trainer.run()
    assert trainer.updates >= 50
    assert np.isfinite(trainer.loss)
    assert not torch.equal(before, trainer.learner.online.conv[0].weight)
    with ckptfmt.open(path) as checkpoint:
        unsigned = {"created_at": None, "model_version": None, "framework_version": None}
        assert checkpoint.config.replace(**unsigned) == trainer.model_config


LEARNERS = {
    "dqn": {},
    "rainbow": RAINBOW,
    "quantiles": {"quantile_dqn": True, "n_quantiles": 16},
    "implicit-quantiles": {"implicit_quantile_dqn": True, "n_quantiles": 8},
}


@pytest.mark.parametrize("techniques", LEARNERS.values(), ids=LEARNERS)
def test_catching_a_ball_is_learnt(techniques, tmp_path):
    config = TrainConfig(
        **{
            **TINY,
            **techniques,
            "total_steps": 20_000,
            "num_envs": 4,
            "n_step_learning": True,
            "learning_starts": 500,
            "replay_size": 10_000,
            "hidden_size": 128,
            "batch_size": 32,
            "train_every": 4,
            "target_every": 200,
            "learning_rate": 2e-3,
            "gamma": 0.95,
            "epsilon_steps": 1_500,
            "eval_every": 1_000,
            "eval_episodes": 40,
            "save_every": 100_000,
            "save_replay": "never",
        }
    )
    trainer = Trainer(config, tmp_path, lambda event: _stop_above(trainer, event, 0.9))
    trainer.run()
    assert trainer.best > 0.9


def _stop_above(trainer, event, mean):
    if isinstance(event, Evaluated) and event.evaluation.mean > mean:
        trainer.stop()


_RUN = """
import json, os, signal, sys, torch
torch.set_num_threads(1)
from ckptfmt.rl.training.events import Saved
from ckptfmt.rl.training.train import Trainer
from ckptfmt.rl.training.config import TrainConfig
folder, settings = sys.argv[1:]
def die(event):
    if isinstance(event, Saved):
        os.kill(os.getpid(), signal.SIGKILL)
if settings:
    Trainer(TrainConfig(**json.loads(settings)), folder, die).run()
else:
    Trainer.resume(folder).run()
"""


def run(folder, settings=""):
    return subprocess.run([sys.executable, "-P", "-c", _RUN, str(folder), settings], check=False).returncode


@pytest.mark.parametrize(
    ("techniques", "num_envs"), [({}, 1), (RAINBOW, 1), (RAINBOW, 2)], ids=["dqn", "rainbow", "rainbow-2"]
)
def test_a_killed_training_resumes_exactly_in_the_middle_of_an_episode(techniques, num_envs, tmp_path):
    settings = {
        **TINY,
        **techniques,
        "env": "ALE/Pong-v5",
        "num_envs": num_envs,
        "total_steps": 300,
        "replay_size": 220,
        "save_every": 180,
        "epsilon_steps": 200,
        "save_replay": "always",
    }
    Trainer(TrainConfig(**settings), tmp_path / "one").run()
    assert run(tmp_path / "two", json.dumps(settings)) == -signal.SIGKILL
    [saved] = os.listdir(tmp_path / "two")
    assert run(tmp_path / "two" / saved) == 0
    last = step_name(300)
    assert_resume_exact(tmp_path / "one" / last, tmp_path / "two" / last)
    with ckptfmt.open(tmp_path / "two" / last) as checkpoint, ckptfmt.open(tmp_path / "two" / saved) as parent:
        assert checkpoint.manifest.lineage.kind == "resumed"
        assert checkpoint.manifest.lineage.parent == parent.manifest.manifest_digest
        assert checkpoint.manifest.lineage.run_id == parent.manifest.lineage.run_id
        assert checkpoint.manifest.resume.lacks == ()


VECTORS = {"env": "CartPole-v1", "num_envs": 3, "encoder": "nature", "frame_stack": None}
QUANTILES = {"n_quantiles": 6, "prioritized_replay": True, "n_step_learning": True}
KINDS = {
    "vectors": VECTORS,
    "vectors-rainbow": {**VECTORS, **RAINBOW, "hidden_layers": 1},
    "vectors-dueling-quantiles": {**VECTORS, **QUANTILES, "quantile_dqn": True, "dueling_dqn": True},
    "vectors-implicit-quantiles": {**VECTORS, **QUANTILES, "implicit_quantile_dqn": True, "double_dqn": True},
    "images-quantiles": {**QUANTILES, "quantile_dqn": True, "noisy_networks": True},
    "images-implicit-quantiles": {"implicit_quantile_dqn": True, "n_quantiles": 4},
    "impala": {"encoder": "impala", "dueling_dqn": True, "num_envs": 2},
    "bits": {"env": "ckptfmt-tests/Bits-v0", "encoder": "minatar", "frame_stack": 1, "double_dqn": True},
    "overlap": {"overlap": True, "num_envs": 3, "train_every": 2},
    "channels-last": {**RAINBOW, "channels_last": True, "num_envs": 2},
    "bfloat16": {"distributional_dqn": True, "precision": "bfloat16", "channels_last": True},
}


class Bits(gymnasium.Env):
    """Images of bits, with channels, as MinAtar's games give them: a dot walks down."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (10, 10, 4), bool)
    action_space = gymnasium.spaces.Discrete(3)
    row = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.row = 0
        return self.image(), {}

    def step(self, action):
        self.row += 1
        return self.image(), float(action), self.row == 9, False, {}

    def image(self):
        image = np.zeros((10, 10, 4), bool)
        image[self.row, :, self.row % 4] = True
        return image


gymnasium.register("ckptfmt-tests/Bits-v0", entry_point=Bits)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_trains_and_resumes_exactly(kind, tmp_path):
    settings = {**TINY, **KINDS[kind], "total_steps": 240, "eval_every": 120, "eval_episodes": 1, "save_every": 180}
    settings |= {"replay_size": 300, "epsilon_steps": 200, "save_replay": "always"}
    trainer = Trainer(TrainConfig(**settings), tmp_path / "one")
    last = trainer.run()
    assert trainer.updates > 30
    assert np.isfinite(trainer.loss)
    resumed = Trainer.resume(tmp_path / "one" / step_name(180), tmp_path / "two")
    assert (resumed.lacks, resumed.changed) == ((), {})
    assert_resume_exact(last, resumed.run())
    trainer.close()
    resumed.close()
    assert ckptfmt.validate(last).valid
    model, config, _ = ckptfmt.load_model_checkpoint(last)
    seen = torch.zeros(2, *config.input_shape)
    trained = trainer.learner.online.eval()
    assert torch.allclose(model.get_q_values(seen), trained.get_q_values(seen), atol=1e-5)


def test_environments_share_one_pass_of_the_network(tmp_path):
    settings = {**TINY, "num_envs": 5, "epsilon_start": 0.0, "epsilon_end": 0.0, "learning_starts": 1000}
    trainer = Trainer(TrainConfig(**settings), tmp_path)
    sizes = []
    trainer.learner.online.conv[0].register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    trainer.advance(20)
    assert sizes == [5] * 4


def test_settings_that_exclude_each_other_are_named():
    with pytest.raises(CkptError) as caught:
        TrainConfig(quantile_dqn=True, implicit_quantile_dqn=True, noisy_networks=True, precision="float16")
    assert str(caught.value) == (
        "training config: 3 settings are wrong: precision must be float32 or bfloat16, not 'float16'; "
        "quantile_dqn and implicit_quantile_dqn exclude each other; implicit_quantile_dqn excludes noisy_networks"
    )


def test_the_newest_checkpoints_are_kept_over_resumes_and_the_best_beside_them(tmp_path):
    settings = {**TINY, "total_steps": 150, "eval_every": 50, "eval_episodes": 1, "save_every": 50, "keep": 2}
    trainer = Trainer(TrainConfig(**settings), tmp_path)
    trainer.best = 2.0  # more than any episode gives
    path = trainer.run()
    trainer.close()
    assert sorted(os.listdir(tmp_path)) == [step_name(100), step_name(150)]
    resumed = Trainer.resume(path, total_steps=250)
    resumed.best = -2.0
    resumed.run()
    resumed.close()
    assert sorted(os.listdir(tmp_path)) == ["best", step_name(200), step_name(250)]
    for name in os.listdir(tmp_path):
        assert ckptfmt.validate(tmp_path / name).valid
    with ckptfmt.open(tmp_path / step_name(200)) as checkpoint:
        assert checkpoint.manifest.extra["manager"]["metrics"]["return"] == checkpoint.manifest.evaluation[-1]["mean"]


def test_a_training_compresses_what_gets_smaller_and_goes_on_as_without(tmp_path):
    settings = {**TINY, "total_steps": 200, "eval_every": 100, "eval_episodes": 1, "save_replay": "always"}
    plain = Trainer(TrainConfig(**settings), tmp_path / "plain").run()
    packed = Trainer(TrainConfig(**settings, compress=True), tmp_path / "packed").run()
    assert_resume_exact(plain, packed)
    for name in (os.path.basename(packed), "best"):
        with ckptfmt.open(tmp_path / "packed" / name) as checkpoint:
            files = checkpoint.manifest.files
            assert [file for file in files if not checkpoint.compressed(file)] == ["weights.safetensors"]
    with_more = Trainer.resume(packed, total_steps=250, compress=False).run()
    with ckptfmt.open(with_more) as checkpoint:
        assert not any(checkpoint.compressed(file) for file in checkpoint.manifest.files)


def test_a_resume_that_is_not_exact_is_told(tmp_path):
    first = Trainer(TrainConfig(**TINY), tmp_path / "a").run()
    other = Trainer(TrainConfig(**{**TINY, "seed": 2}), tmp_path / "b").run()
    assert_resume_exact(first, first)
    with pytest.raises(AssertionError, match=r"^the resumed training differs in replay.safetensors: .* and \d+ more$"):
        assert_resume_exact(first, other)


def test_a_resume_without_a_replay_buffer_fills_it_again_first(tmp_path):
    path = Trainer(TrainConfig(**TINY, save_replay="never"), tmp_path).run()
    with ckptfmt.open(path) as checkpoint:
        assert "replay" in checkpoint.manifest.resume.lacks
    trainer = Trainer.resume(path, total_steps=390)
    updates = trainer.updates
    trainer.run()
    assert (trainer.step, trainer.updates) == (390, updates)


def test_events_tell_what_happens(tmp_path):
    events = []
    config = TrainConfig(**{**TINY, "eval_every": 150, "eval_episodes": 2, "save_every": 120, "keep": 1})
    trainer = Trainer(config, tmp_path, events.append)
    trainer.run()
    assert [event.step for event in events if isinstance(event, Progress)] == [100, 200, 300]
    assert [event.step for event in events if isinstance(event, Evaluated)] == [150, 300]
    kinds = [(event.kind, event.step) for event in events if isinstance(event, Saved) and event.kind != "best"]
    assert kinds == [("interval", 120), ("interval", 240), ("last", 300)]
    assert sorted(os.listdir(tmp_path)) == ["best", step_name(300)]
    assert ckptfmt.validate(tmp_path / "best").valid


def test_scalars_are_written_for_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = Trainer(TrainConfig(**{**TINY, "tensorboard": True, "eval_every": 150}), tmp_path)
    trainer.run()
    trainer.close()
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    names = ["evaluation/return_mean", "evaluation/return_std", "train/epsilon", "train/loss", "train/return"]
    assert sorted(log.Tags()["scalars"]) == [*names, "train/speed"]
    assert [scalar.step for scalar in log.Scalars("evaluation/return_mean")] == [150, 300]


def test_wrong_settings_are_all_told_at_once():
    with pytest.raises(CkptError) as caught:
        TrainConfig(gamma=2, env=3, n_steps=0, v_min=1, v_max=0.0, double_dqn=1, encoder="big", learning_rate="fast")
    assert str(caught.value) == (
        "training config: 7 settings are wrong: env must be text, not 3; double_dqn must be true or false, not 1; "
        "n_steps must be 1 or more, not 0; learning_rate must be a number, not 'fast'; "
        "gamma must be between 0 and 1, not 2.0; encoder must be one of nature, nips, data-efficient, minatar, "
        "impala, not 'big'; v_min must be less than v_max (0), not 1"
    )
    with pytest.raises(CkptError) as caught:
        TrainConfig.from_dict({"gama": 1, "seeds": 2})
    assert str(caught.value) == "training config: no such setting: gama, seeds; did you mean gamma or seed?"


def test_settings_come_from_yaml(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("env: ALE/Freeway-v5\nlearning_rate: 1e-3\ndueling_dqn: true\n")
    config = TrainConfig.from_file(file, seed=7)
    assert (config.env, config.learning_rate, config.dueling_dqn, config.seed) == ("ALE/Freeway-v5", 1e-3, True, 7)
    assert TrainConfig.from_dict(config.to_dict()) == config
    file.write_text("- env\n")
    with pytest.raises(CkptError) as caught:
        TrainConfig.from_file(file)
    assert str(caught.value) == f"{file}: must map settings to values"


def test_every_setting_explains_itself():
    for name, field in TrainConfig.__dataclass_fields__.items():
        assert 8 < len(field.metadata["doc"]) < 90, name


def test_a_place_that_cannot_hold_checkpoints_is_said_before_the_training_begins(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CkptError) as caught:
        Trainer(TrainConfig(env="ckptfmt/Catch-v0", tensorboard=False), tmp_path / "file" / "run")
    assert str(caught.value) == (
        f"{tmp_path}/file: is a file, and checkpoints are saved in a folder; choose another folder"
    )


def test_a_best_that_is_a_link_to_another_runs_is_said_before_the_training_begins(tmp_path):
    config = TrainConfig(**{**TINY, "eval_every": 100, "eval_episodes": 1})
    Trainer(config, tmp_path / "other").run()
    before = (tmp_path / "other" / "best" / "manifest.json").read_bytes()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best").symlink_to("../other/best")
    with pytest.raises(CkptError) as caught:
        Trainer(config, tmp_path / "run")
    assert str(caught.value) == (
        f"{tmp_path}/run/best: is a link, and the best checkpoint is not written through it; remove the link"
    )
    assert (tmp_path / "other" / "best" / "manifest.json").read_bytes() == before
