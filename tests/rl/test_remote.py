"""Environments in other processes play, are stored and fail as those in this one."""

import os
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ckptfmt.errors import CkptError
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.make import make_env
from ckptfmt.rl.envs.played import play
from ckptfmt.rl.envs.remote import _packed, _unpacked, make_remote, play_remotely
from ckptfmt.rl.envs.state import capture_games, restore_games
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.exact import assert_resume_exact
from ckptfmt.rl.training.train import Trainer
from ckptfmt.store.manager.steps import step_name

from .test_train import TINY

CATCH = Environment(id="ckptfmt/Catch-v0", frame_stack=2)


@pytest.fixture
def remote():
    envs = make_remote(CATCH, 3, 2)
    yield envs
    for env in envs:
        env.close()


def test_environments_in_two_processes_play_as_in_this_one(remote):
    own = [make_env(CATCH) for _ in range(3)]
    for number, (here, there) in enumerate(zip(own, remote, strict=True)):
        assert np.array_equal(here.reset(seed=number)[0], there.reset(seed=number)[0])
    for step in range(25):
        actions = [(step + number) % 3 for number in range(3)]
        for env, action, there in zip(own, actions, play_remotely(remote, actions), strict=True):
            here = play(env, action)
            assert np.array_equal(here.after, there.after)
            assert np.array_equal(here.following, there.following)
            assert (here.reward, here.terminated, here.truncated) == (there.reward, there.terminated, there.truncated)
    assert str(capture_games(own)) == str(capture_games(remote))


def test_a_game_goes_over_to_another_process_and_back(remote):
    own = [make_env(CATCH) for _ in range(3)]
    for number, env in enumerate(own):
        env.reset(seed=number)
        env.step(1)
    restore_games(remote, capture_games(own).layers)
    assert str(capture_games(remote)) == str(capture_games(own))


def test_what_is_no_state_of_a_game_is_said_as_in_this_process(remote, capfd):
    own = make_env(CATCH)
    own.reset(seed=1)
    for ball in (torch.ones(3), torch.zeros(0), torch.ones((), dtype=torch.bfloat16), {"a": [np.ones(2), b"x"]}, "x"):
        state = capture_games([own]).layers
        state[0][-1]["attributes"]["ball"] = ball
        for envs in ([own], remote[:1]):
            with pytest.raises(CkptError) as caught:
                restore_games(envs, state)
            assert str(caught.value) == "environments/0/Catch/ball: must be a list"
    assert capfd.readouterr() == ("", "")
    assert remote[0].reset(seed=1)[0].shape == (2, 36, 36)


def test_the_states_of_other_than_as_many_games_are_refused():
    own = [make_env(CATCH) for _ in range(2)]
    for env in own:
        env.reset(seed=1)
    with pytest.raises(CkptError) as caught:
        restore_games(own, capture_games(own[:1]).layers)
    assert str(caught.value) == "environments: holds the state of 1 games, not of 2"


def test_tensors_in_the_state_of_a_game_go_over_as_they_are():
    state = {"a": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).T, "b": [torch.tensor(True), np.float32(2)]}
    back = _unpacked(_packed(state))
    assert back["a"].dtype == torch.bfloat16
    assert torch.equal(back["a"], state["a"])
    assert back["b"] == state["b"]


def test_a_training_in_other_processes_is_the_same_and_goes_on_in_any(tmp_path):
    # What is learnt while they play is where the order could differ.
    settings = {**TINY, "num_envs": 3, "total_steps": 240, "save_every": 120, "save_replay": "always", "overlap": True}
    own = Trainer(TrainConfig(**settings), tmp_path / "own")
    last = own.run()
    there = Trainer(TrainConfig(**settings, env_processes=2), tmp_path / "there")
    assert_resume_exact(last, there.run())
    there.close()
    for processes in (0, 1):
        trainer = Trainer.resume(
            tmp_path / "there" / step_name(120), tmp_path / str(processes), env_processes=processes
        )
        assert (trainer.lacks, trainer.changed) == ((), {})
        assert_resume_exact(last, trainer.run())
        trainer.close()


def test_an_environment_that_is_not_there_is_said_as_in_this_process():
    with pytest.raises(CkptError) as caught:
        make_remote(Environment(id="ALE/Nothing-v5"), 2, 2)
    with pytest.raises(CkptError) as here:
        make_env(Environment(id="ALE/Nothing-v5"))
    assert str(caught.value) == str(here.value)


def test_what_an_environment_raises_and_the_end_of_its_process_are_sentences(remote):
    with pytest.raises(CkptError) as caught:
        play_remotely(remote[:1], [0])
    assert str(caught.value).startswith("environment: the environment failed: ")
    os.kill(remote[1].process._process.pid, signal.SIGKILL)
    with pytest.raises(CkptError) as caught:
        remote[1].reset(seed=1)
    assert str(caught.value) == "environment: the process of an environment has ended"
