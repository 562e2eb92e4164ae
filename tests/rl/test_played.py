"""Environments of others: what they give is learnt from as it was given, and what they do wrong is said."""

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from gymnasium import spaces

from ckptfmt.errors import CkptError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.acting import Actor
from ckptfmt.rl.envs import Environment, make_env
from ckptfmt.rl.envs.played import begin, play
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.player import open_player
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.learner import noisy_layers
from ckptfmt.rl.training.train import Trainer

from .test_hostile import forge

SHORT = {"total_steps": 40, "learning_starts": 10, "replay_size": 100, "hidden_size": 8, "batch_size": 4}
QUIET = {"eval_every": 1000, "save_every": 1000, "tensorboard": False, "device": "cpu", "epsilon_steps": 20}


class Counting(gymnasium.Env):
    """Shows how many steps were taken, for ten steps."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.taken += 1
        return np.full(3, self.taken, np.float32), 1.0, self.taken >= 10, False, {}


class Writing(Counting):
    """Writes what it shows into the same array each time."""

    def __init__(self, shape=(3,)):
        self.observation_space = spaces.Box(0, 255, shape, np.uint8 if len(shape) > 1 else np.float32)
        self.shown = np.zeros(shape, self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        _, info = super().reset(seed=seed)
        self.shown[:] = 0
        return self.shown, info

    def step(self, action):
        _, *rest = super().step(action)
        self.shown[:] = self.taken
        return self.shown, *rest


class Doubles(Counting):
    """Says float32, and shows what lies backwards in float64 from the first step on."""

    def step(self, action):
        seen, *rest = super().step(action)
        return seen.astype(np.float64)[::-1], *rest


class From5(Counting):
    """Takes the actions 5 and 6, and returns 1 for the latter."""

    action_space = spaces.Discrete(2, start=5)
    taken_actions = ()

    def step(self, action):
        From5.taken_actions = (*From5.taken_actions, int(action))
        seen, _, *rest = super().step(action)
        return seen, float(action == 6), *rest


class Unclosable(Counting):
    """Cannot be closed."""

    def close(self):
        raise RuntimeError("cannot be closed")


class Wrong(Counting):
    """Gives something wrong in its fifth step."""

    def __init__(self, wrong="reward"):
        self.wrong = wrong

    def step(self, action):
        seen, reward, *rest = super().step(action)
        if self.taken == 5 and self.wrong == "raises":
            raise ValueError("no such step")
        seen = seen * np.nan if self.taken == 5 and self.wrong == "seen" else seen
        return seen, np.inf if self.taken == 5 and self.wrong == "reward" else reward, *rest


@pytest.fixture(autouse=True, scope="module")
def registered():
    own = (Counting, Writing, Doubles, From5, Unclosable, Wrong)
    for kind in own:
        gymnasium.register(f"tests/{kind.__name__}-v0", kind)
    gymnasium.register("tests/Raising-v0", Wrong, kwargs={"wrong": "raises"})
    gymnasium.register("tests/Unseen-v0", Wrong, kwargs={"wrong": "seen"})
    yield
    for name in [*(kind.__name__ for kind in own), "Raising", "Unseen"]:
        del gymnasium.registry[f"tests/{name}-v0"]


def trained(name, folder, **settings):
    """Return a short training on an environment of this module, and where it was saved."""
    trainer = Trainer(TrainConfig(**{**SHORT, **QUIET, "env": f"tests/{name}-v0", **settings}), folder)
    return trainer, trainer.run()


@pytest.mark.parametrize("name", ["Counting", "Writing", "Doubles"])
def test_what_was_seen_is_kept_as_it_was_seen(name, tmp_path):
    trainer, path = trained(name, tmp_path, total_steps=35)
    assert trainer.replay.frames[:22, 0].tolist() == [*range(11), *range(11)]
    trainer.close()
    again = Trainer.resume(path, total_steps=40)
    assert [row.dtype for row in again.observations] == [np.float32]
    again.close()


@pytest.mark.parametrize("shape", [(3,), (10, 10), (10, 10, 3)], ids=str)
def test_stacked_frames_are_those_that_were_seen(shape):
    env = make_env(Environment(id="tests/Writing-v0", kwargs={"shape": shape}, grayscale=False))
    begin(env, 1)
    for _ in range(3):
        seen = play(env, 0).after
    assert seen.reshape(4, -1)[:, 0].tolist() == [0, 1, 2, 3]


def test_actions_are_counted_from_the_first_one_of_the_space(tmp_path):
    From5.taken_actions = ()
    trainer, path = trained("From5", tmp_path)
    assert set(trainer.replay.actions[:40].tolist()) == {0, 1}
    kept = trainer.replay.actions[: len(trainer.replay)][~trainer.replay.final[: len(trainer.replay)]]
    assert [5 + action for action in kept.tolist()] == list(From5.taken_actions[: len(kept)])
    with open_player(path) as player:
        assert player.env.action_space.start == 5
    trainer.close()


def test_a_network_of_the_first_family_acts_from_the_first_action_of_the_space():
    config = ModelConfig(n_action=2, input_shape=(4, 36, 36), hidden_size=4, encoder="nips")
    actor = Actor(create_model_from_config(config), From5.action_space, np.random.default_rng(1))
    frames = np.zeros((4, 36, 36), np.uint8)
    assert actor.act(frames) == actor.choose(actor.see(frames))
    assert actor.act(frames) in (5, 6)


def test_an_environment_that_cannot_be_closed_is_trained_on(tmp_path):
    trainer, _ = trained("Unclosable", tmp_path, eval_every=20, eval_episodes=1)
    trainer.close()
    assert trainer.best == 10.0


@pytest.mark.parametrize("techniques", [{}, {"quantile_dqn": True}, {"dueling_dqn": True}], ids=str)
def test_noise_begins_as_large_as_the_settings_say(techniques, tmp_path):
    settings = {**SHORT, **QUIET, **techniques, "noisy_networks": True, "noisy_std_init": 0.1}
    trainer = Trainer(TrainConfig(**settings, env="tests/Counting-v0"), tmp_path)
    layers = noisy_layers(trainer.learner.online)
    assert layers
    for layer in layers:
        assert torch.allclose(layer.weight_sigma, torch.tensor(0.1 / layer.in_features**0.5))
    trainer.close()


NUMBER = "; mend it: what is learnt from such a number is lost"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Wrong", f"environment: the environment tests/Wrong-v0 gave a reward of inf{NUMBER}"),
        (
            "Unseen",
            f"environment: the environment tests/Unseen-v0 gave an observation that holds NaN or infinity{NUMBER}",
        ),
        ("Raising", "environment: the environment failed: no such step"),
    ],
)
def test_an_environment_that_fails_is_said(name, sentence, tmp_path):
    with pytest.raises(CkptError) as caught:
        trained(name, tmp_path)
    assert str(caught.value) == sentence


def test_an_evaluation_of_no_number_neither_stays_the_best_nor_ends_the_training(tmp_path):
    trainer, path = trained("Counting", tmp_path, eval_every=20, eval_episodes=1)
    trainer.close()
    nan = float("nan")

    def spoil(counters):
        counters["evaluations"][0]["mean"] = counters["best"] = nan

    (tmp_path / "forged").mkdir()
    spoilt = forge(path, tmp_path / "forged", state=lambda tree: spoil(tree["counters"]))
    again = Trainer.resume(spoilt, tmp_path / "again", total_steps=60)
    assert np.isnan(again.best)
    again.run()
    assert again.best == 10.0
    again.close()
