import json
import random
import subprocess
import sys
from collections import deque

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from gymnasium import wrappers

import ckptfmt
from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.rl.envs import Environment, describe_env, make_env
from ckptfmt.rl.envs.state import capture_env, restore_env
from ckptfmt.rl.tree import flatten, unflatten

CATCH = Environment(id="ckptfmt/Catch-v0")
PONG = Environment(id="ALE/Pong-v5")


def play(env, steps, seed):
    """Yield what is seen; a new episode begins where one ends."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(int(rng.integers(env.action_space.n)))
        if terminated or truncated:
            observation, _ = env.reset()
        yield observation.copy(), float(reward), terminated, truncated


def assert_goes_on(environment, before, after):
    env, other = make_env(environment), make_env(environment)
    env.reset(seed=5)
    list(play(env, before, 1))
    state = unflatten(flatten(capture_env(env).layers))
    restore_env(other, state)
    for mine, theirs in zip(play(env, after, 2), play(other, after, 2), strict=True):
        assert np.array_equal(mine[0], theirs[0])
        assert mine[1:] == theirs[1:]


@pytest.mark.parametrize(
    "environment",
    [
        PONG,
        Environment(id="ALE/Breakout-v5", terminal_on_life_loss=True, frame_stack=2),
        Environment(id="ALE/Freeway-v5", max_episode_steps=150, grayscale=False),
        Environment(id="ALE/Pong-v5", frame_skip=1, noop_max=0, sticky_actions=0.6),
        Environment(id="ckptfmt/Catch-v0", sticky_actions=0.3),
        Environment(id="ckptfmt/Catch-v0", frame_skip=2, screen_size=20, max_episode_steps=4),
    ],
    ids=lambda environment: environment.id,
)
def test_an_episode_goes_on_exactly_in_another_environment(environment):
    assert_goes_on(environment, before=120, after=400)


def test_every_state_of_catch_can_be_gone_on_from():
    env, other = make_env(CATCH), make_env(CATCH)
    columns = set()
    for seed in range(60):
        env.reset(seed=seed)
        for _ in range(10):
            columns.add(env.unwrapped.ball[1])
            restore_env(other, capture_env(env).layers)
            assert other.unwrapped.ball == env.unwrapped.ball
            env.step(0)
    assert columns == set(range(12))


_FRESH = """
import json, sys
from ckptfmt.rl.envs import Environment, make_env
from ckptfmt.rl.envs.state import restore_env
from ckptfmt.rl.stored import read_tensors
from ckptfmt.rl.tree import unflatten
from ckptfmt.store.checkpoint import Checkpoint
from zlib import crc32
env = make_env(Environment(id="ALE/Pong-v5"))
with Checkpoint(sys.argv[1]) as checkpoint:
    restore_env(env, unflatten(read_tensors(checkpoint, "state.safetensors")))
print(json.dumps([crc32(env.step(i % 6)[0].tobytes()) for i in range(100)]))
"""


def test_an_emulator_goes_on_exactly_in_a_fresh_process(tmp_path):
    from zlib import crc32

    env = make_env(PONG)
    env.reset(seed=3)
    list(play(env, 70, 1))
    state = flatten(capture_env(env).layers)
    ckptfmt.save(tmp_path / "a", {"x": np.zeros(1)}, state=state).close()
    command = [sys.executable, "-P", "-c", _FRESH, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [crc32(env.step(i % 6)[0].tobytes()) for i in range(100)]


def test_sticky_actions_stick_as_often_as_told():
    env = make_env(Environment(id="ckptfmt/Catch-v0", sticky_actions=0.5, frame_stack=1))
    sticky = next(layer for layer in layers_of(env) if isinstance(layer, wrappers.StickyAction))
    env.reset(seed=1)
    stuck = []
    for step in range(3000):
        wanted = step % 2 + 1
        *_, terminated, truncated, _ = env.step(wanted)
        stuck.append(sticky.last_action != wanted)
        if terminated or truncated:
            env.reset()
    assert 0.28 < np.mean(stuck) < 0.38


def layers_of(env):
    from ckptfmt.rl.envs.description import layers

    return list(layers(env))


class Odd(gymnasium.Env):
    """State of every kind, some of which nobody can store."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(0, 255, (8, 8), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.dice, self.old_dice = random.Random(3), np.random.RandomState(4)
        self.history, self.pair, self.table = deque(maxlen=3), (1, 2.5), {1: np.float32(0.5), (2, 3): [None, True]}
        self.socket = object()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((8, 8), np.uint8), {}

    def step(self, action):
        self.history.append(self.dice.random())
        value = int(self.old_dice.randint(200)) + int(self.np_random.integers(50)) + int(10 * self.history[-1]) % 2
        self.table[1] += np.float32(0.1)
        return np.full((8, 8), value % 256, np.uint8), float(self.table[1]), False, False, {}


gymnasium.register("Odd-v0", entry_point=Odd)


class Own(Odd):
    def get_state(self):
        return {"answer": 42}

    def set_state(self, state):
        self.answer = state["answer"]


gymnasium.register("Own-v0", entry_point=Own)


def test_any_environment_gives_up_its_plain_state_and_names_the_rest():
    assert_goes_on(Environment(id="Odd-v0"), before=10, after=20)
    env = make_env(Environment(id="Odd-v0"))
    env.reset(seed=1)
    list(play(env, 5, 1))
    captured = capture_env(env)
    assert captured.lacks == ("Odd.socket",)
    other = make_env(Environment(id="Odd-v0"))
    restore_env(other, unflatten(flatten(captured.layers)))
    mine, theirs = env.unwrapped, other.unwrapped
    assert (mine.history, mine.pair, mine.table) == (theirs.history, theirs.pair, theirs.table)
    assert theirs.history.maxlen == 3
    assert type(theirs.table[1]) is np.float32


def test_an_environment_may_say_itself_what_its_state_is():
    env, other = make_env(Environment(id="Own-v0")), make_env(Environment(id="Own-v0"))
    env.reset(seed=1)
    restore_env(other, unflatten(flatten(capture_env(env).layers)))
    assert other.unwrapped.answer == 42


def test_the_state_of_another_environment_is_refused():
    env, other = make_env(PONG), make_env(Environment(id="ckptfmt/Catch-v0"))
    env.reset(seed=1)
    with pytest.raises(WeightsError) as caught:
        restore_env(other, capture_env(env).layers)
    assert str(caught.value).startswith("env: the state is that of other wrappers than ReshapeObservation, ")


@pytest.mark.parametrize(
    ("environment", "shape"),
    [
        (PONG, (4, 84, 84)),
        (Environment(id="ALE/Pong-v5", screen_size=(40, 60), frame_stack=2), (2, 60, 40)),
        (Environment(id="ALE/Pong-v5", grayscale=False), (12, 84, 84)),
        (Environment(id="ckptfmt/Catch-v0"), (4, 36, 36)),
        (Environment(id="ckptfmt/Catch-v0", screen_size=20, frame_stack=1), (1, 20, 20)),
        (Environment(id="PongNoFrameskip-v4"), (4, 84, 84)),
    ],
)
def test_observations_are_channels_height_width(environment, shape):
    env = make_env(environment)
    assert env.observation_space.shape == shape
    assert env.reset(seed=1)[0].shape == shape


@pytest.mark.parametrize(
    "environment",
    [
        PONG,
        Environment(id="ALE/Pong-v5", screen_size=(40, 60), frame_stack=2, sticky_actions=0.0, noop_max=3),
        Environment(id="ckptfmt/Catch-v0", screen_size=20, frame_skip=2, grayscale=False),
    ],
)
def test_the_description_of_an_environment_makes_the_same_again(environment):
    description = describe_env(make_env(environment))
    again = Environment.from_dict(json.loads(json.dumps(description.to_dict())))
    assert again == description
    first, second = make_env(environment), make_env(again)
    assert np.array_equal(first.reset(seed=2)[0], second.reset(seed=2)[0])
    for mine, theirs in zip(play(first, 50, 1), play(second, 50, 1), strict=True):
        assert np.array_equal(mine[0], theirs[0])


def test_an_environment_made_by_hand_is_described():
    env = gymnasium.make("ALE/Pong-v5", frameskip=1)
    env = wrappers.AtariPreprocessing(env, noop_max=7, scale_obs=True)
    env = wrappers.FrameStackObservation(wrappers.ClipReward(env, -1, 1), 4)
    description = describe_env(env)
    assert description == Environment(
        id="ALE/Pong-v5",
        frame_skip=4,
        screen_size=84,
        noop_max=7,
        sticky_actions=0.25,
        observation_scale=255.0,
        stack_padding="reset",
        wrappers=("ClipReward",),
    )
    with pytest.raises(CkptError) as caught:
        make_env(description)
    assert str(caught.value) == (
        "environment: the environment ALE/Pong-v5 cannot be made: it was wrapped in ClipReward, which cannot be rebuilt"
    )


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            Environment(id="ALE/Bxing-v5"),
            "environment: the environment ALE/Bxing-v5 cannot be made: Environment `Bxing` doesn't exist in "
            "namespace ALE. Did you mean: `Boxing`?",
        ),
        (
            Environment(id="CartPole-v1", frame_skip=4),
            "environment: the environment CartPole-v1 cannot be made: its observations are no images, "
            "and frame_skip is for images only",
        ),
    ],
)
def test_what_cannot_be_made_says_why(environment, sentence):
    with pytest.raises(CkptError) as caught:
        make_env(environment)
    assert str(caught.value) == sentence


def test_a_checkpoint_cannot_ask_for_a_module_to_be_imported():
    with pytest.raises(CkptError) as caught:
        make_env(Environment(id="antigravity:Env-v0"), trusted=False)
    assert str(caught.value) == (
        "$.environment.id: refused, the environment antigravity:Env-v0 asks for a module to be imported; "
        "import it yourself, then name the environment without the module"
    )
    assert "antigravity" not in sys.modules


def test_an_environment_divides_its_observations_itself_and_says_so():
    plain, scaled = (make_env(Environment(id="ckptfmt/Catch-v0", observation_scale=by)) for by in (1.0, 255.0))
    pixels, _ = plain.reset(seed=3)
    numbers, _ = scaled.reset(seed=3)
    assert (numbers.dtype, scaled.observation_space.dtype) == (np.float32, np.float32)
    assert scaled.observation_space.contains(numbers)
    np.testing.assert_array_equal(numbers, pixels.astype("f4") / np.float32(255))
    assert describe_env(scaled).observation_scale == 255.0
    assert describe_env(plain).observation_scale == 1.0
