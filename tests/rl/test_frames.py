"""Whole games, pixel for pixel, as the library shows them whose agent is played."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")

import gymnasium
from ale_py.vector_env import AtariVectorEnv
from gymnasium import wrappers
from stable_baselines3.common import atari_wrappers
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack

from ckptfmt.errors import CkptError
from ckptfmt.rl.envs import Environment, describe_env, make_env
from ckptfmt.rl.envs.atari import EpisodicLife
from ckptfmt.rl.envs.description import layers
from ckptfmt.rl.integrations.sb3 import describe_vec_env

GAMES = ["BreakoutNoFrameskip-v4", "PongNoFrameskip-v4"]


def is_over(env):
    """Return whether the game itself ended, and not just a life."""
    lives = [layer.game_over for layer in layers(env) if isinstance(layer, EpisodicLife)]
    return not lives or lives[0]


def assert_same_game(ours, theirs, games, seed=5):
    """Play random actions in both; `theirs` resets by itself and returns (stack, reward, over, last stack)."""
    mine = ours.reset(seed=seed)[0]
    assert np.array_equal(mine, theirs.reset(seed))
    rng = np.random.default_rng(0)
    total = lived = 0
    while games:
        action = int(rng.integers(ours.action_space.n))
        mine, reward, terminated, truncated, _ = ours.step(action)
        seen, same, over, last = theirs.step(action)
        assert (np.sign(reward), terminated or truncated) == (np.sign(same), over)
        assert np.array_equal(mine, seen if last is None else last)
        total, lived = total + abs(reward), lived + over
        if over:
            games -= is_over(ours)
            mine = ours.reset()[0]
            assert np.array_equal(mine, seen)
    assert total > 0
    return lived


class Baselines:
    """A Stable-Baselines3 vector environment of one."""

    def __init__(self, envs):
        self.envs = envs

    def reset(self, seed):
        self.envs.seed(seed)
        return self.envs.reset()[0].transpose(2, 0, 1)

    def step(self, action):
        seen, reward, over, infos = self.envs.step([action])
        last = infos[0]["terminal_observation"].transpose(2, 0, 1) if over[0] else None
        return seen[0].transpose(2, 0, 1), reward[0], over[0], last


@pytest.mark.parametrize("lives", [True, False])
@pytest.mark.parametrize("game", GAMES)
def test_stable_baselines(game, lives):
    envs = VecFrameStack(make_atari_env(game, seed=5, wrapper_kwargs={"terminal_on_life_loss": lives}), 4)
    description = describe_vec_env(envs)
    assert description == Environment(
        id=game,
        frame_skip=4,
        frame_stack=4,
        screen_size=84,
        noop_max=30,
        sticky_actions=0.0,
        terminal_on_life_loss=lives,
        fire_reset=True,
        preprocessing="stable-baselines3",
        stack_padding="zero",
    )
    lived = assert_same_game(make_env(description), Baselines(envs), 2 if "Breakout" in game else 1)
    assert lived == (1 if "Pong" in game else 10 if lives else 2)


class Single:
    """An environment of gymnasium that is reset where it ends."""

    def __init__(self, env):
        self.env = env

    def reset(self, seed):
        return self.env.reset(seed=seed)[0]

    def step(self, action):
        last, reward, terminated, truncated, _ = self.env.step(action)
        over = terminated or truncated
        return (self.env.reset()[0] if over else last), reward, over, last if over else None


def cleanrl(game):
    env = wrappers.RecordEpisodeStatistics(gymnasium.make(game))
    env = atari_wrappers.NoopResetEnv(env, noop_max=30)
    env = atari_wrappers.MaxAndSkipEnv(env, skip=4)
    env = atari_wrappers.EpisodicLifeEnv(env)
    if "FIRE" in env.unwrapped.get_action_meanings():
        env = atari_wrappers.FireResetEnv(env)
    env = atari_wrappers.ClipRewardEnv(env)
    env = wrappers.ResizeObservation(env, (84, 84))
    env = wrappers.GrayscaleObservation(env)
    return wrappers.FrameStackObservation(env, 4)


@pytest.mark.parametrize("game", GAMES)
def test_cleanrl(game):
    env = cleanrl(game)
    description = describe_env(gymnasium.vector.SyncVectorEnv([lambda: env]))
    assert (description.preprocessing, description.stack_padding, description.wrappers) == ("cleanrl", "reset", ())
    assert (description.noop_max, description.terminal_on_life_loss, description.fire_reset) == (30, True, True)
    assert_same_game(make_env(description), Single(env), 2 if "Breakout" in game else 1)


class Vector:
    """ALE's own vector environment, of one, with the episodes that it resets in the same step."""

    def __init__(self, envs):
        self.envs = envs

    def reset(self, seed):
        return self.envs.reset(seed=seed)[0][0]

    def step(self, action):
        seen, reward, terminated, truncated, infos = self.envs.step(np.array([action]))
        over = bool(terminated[0] or truncated[0])
        return seen[0], reward[0], over, infos["final_obs"][0] if over else None


@pytest.mark.parametrize("fire", [True, False])
@pytest.mark.parametrize("game", ["breakout", "pong"])
def test_the_vector_environment_of_ale(game, fire):
    # Its idle frames come from a generator of its own, so that there are none here.
    same = {"noop_max": 0, "repeat_action_probability": 0.0, "use_fire_reset": fire}
    envs = gymnasium.make_vec(f"ALE/{game.capitalize()}-v5", num_envs=1, autoreset_mode="SameStep", **same)
    assert isinstance(envs, AtariVectorEnv)
    description = describe_env(envs)
    assert description == Environment(
        id=f"ALE/{game.capitalize()}-v5",
        frame_skip=4,
        screen_size=84,
        noop_max=0,
        sticky_actions=0.0,
        fire_reset=fire,
        preprocessing="ale",
        stack_padding="zero",
    )
    assert_same_game(make_env(description), Vector(envs), 2 if game == "breakout" else 1)


def test_a_vector_environment_of_ale_that_hides_its_game_is_refused():
    with pytest.raises(CkptError) as caught:
        describe_env(AtariVectorEnv("pong", num_envs=1))
    assert str(caught.value) == (
        "environment: AtariVectorEnv does not say which environments it is made of; make it with gymnasium.make_vec, "
        "or give an Environment that describes one of them"
    )


@pytest.mark.parametrize("kind", [gymnasium.vector.SyncVectorEnv, gymnasium.vector.AsyncVectorEnv])
def test_many_environments_are_described_by_one_of_them(kind):
    made = kind([lambda: make_env(Environment(id="ckptfmt/Catch-v0", screen_size=20))] * 2)
    around = gymnasium.wrappers.vector.RecordEpisodeStatistics(gymnasium.wrappers.vector.ClipReward(made, -1, 1))
    description = describe_env(around)
    made.close()
    assert (description.id, description.screen_size, description.frame_stack) == ("ckptfmt/Catch-v0", 20, 4)
    assert description.wrappers == ("ClipReward",)


def test_frames_in_another_order_than_any_library_makes_them_are_named():
    env = wrappers.ResizeObservation(wrappers.GrayscaleObservation(gymnasium.make(GAMES[0])), (84, 84))
    assert describe_env(env).wrappers == ("GrayscaleObservation before ResizeObservation",)
    with pytest.raises(CkptError) as caught:
        make_env(Environment(id="ALE/Pong-v5", preprocessing="dopamine"))
    assert str(caught.value) == (
        "environment: the environment ALE/Pong-v5 cannot be made: its frames are preprocessed as in "
        "dopamine, which is not known here"
    )


@pytest.mark.parametrize("preprocessing", ["gymnasium", "stable-baselines3", "cleanrl", "ale"])
def test_what_is_made_is_described_as_it_was(preprocessing):
    description = Environment(
        id="ALE/Breakout-v5",
        preprocessing=preprocessing,
        terminal_on_life_loss=True,
        fire_reset=True,
        noop_max=3,
        sticky_actions=0.1,
        frame_skip=2,
        screen_size=(40, 50),
        max_episode_steps=7,
    )
    env = make_env(description)
    found = describe_env(env)
    assert found == describe_env(make_env(found))
    assert (found.preprocessing, found.max_episode_steps, found.screen_size) == (preprocessing, 7, (40, 50))
    assert (found.noop_max, found.terminal_on_life_loss, found.fire_reset) == (3, True, True)
    assert found.stack_padding == ("zero" if preprocessing in ("stable-baselines3", "ale") else "reset")
