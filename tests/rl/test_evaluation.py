"""Lives, whole games and protocols; an evaluation that is told to stop."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.errors import WriteError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.envs import Environment, describe_env, make_env
from ckptfmt.rl.envs.atari import EpisodicLife
from ckptfmt.rl.envs.description import layers
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.play import Episode, Evaluation, evaluate, play_episodes
from ckptfmt.rl.player import add_evaluation, open_player
from ckptfmt.rl.protocol import PROTOCOLS, Protocol
from ckptfmt.rl.save import save_model_checkpoint
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.exact import assert_resume_exact
from ckptfmt.rl.training.train import Trainer
from ckptfmt.store.manager.steps import step_name

from .test_commands import ckpt
from .test_train import TINY

BREAKOUT = Environment(
    id="BreakoutNoFrameskip-v4",
    sticky_actions=0.0,
    terminal_on_life_loss=True,
    fire_reset=True,
    preprocessing="stable-baselines3",
)
RANDOM = Protocol(epsilon=1.0)


def make_model(n_action=4, bias=None):
    torch.manual_seed(1)
    model = create_model_from_config(ModelConfig(n_action=n_action, input_scale=255, hidden_size=8))
    if bias is not None:
        with torch.no_grad():
            model.fc[2].weight.zero_()
            model.fc[2].bias.zero_()[bias] = 1.0
    return model


def test_all_lives_of_a_game_are_seen_when_each_is_an_episode():
    env = make_env(BREAKOUT)
    [lives] = [layer for layer in layers(env) if isinstance(layer, EpisodicLife)]
    env.reset(seed=3)
    rng, seen = np.random.default_rng(0), []
    while len(seen) < 12:
        *_, terminated, truncated, _ = env.step(int(rng.integers(4)))
        if terminated or truncated:
            seen.append((lives.lives, lives.game_over))
            env.reset()
    one = [(4, False), (3, False), (2, False), (1, False), (0, True)]
    assert seen == [*one, *one, *one[:2]]


def test_an_evaluation_counts_whole_games_unless_told_otherwise():
    model, env = make_model(), make_env(BREAKOUT)
    whole = evaluate(model, env, RANDOM, episodes=4, frame_skip=4)
    lives = evaluate(model, env, Protocol(epsilon=1.0, whole_games=False), episodes=4, frame_skip=4)
    assert whole.mean > 2.5 * lives.mean
    assert min(episode.steps for episode in whole.episodes) > 2 * max(episode.steps for episode in lives.episodes)
    assert whole == evaluate(model, env, RANDOM, episodes=4, frame_skip=4)


def test_random_play_of_an_agent_evaluates_as_stable_baselines_does():
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecFrameStack

    from ckptfmt.rl.integrations.sb3 import describe_vec_env

    envs = VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", seed=1), 4)

    class Dice:
        rng = np.random.default_rng(0)

        def predict(self, observation, **_):
            return self.rng.integers(4, size=len(observation)), None

    theirs, _ = evaluate_policy(Dice(), envs, n_eval_episodes=12, return_episode_rewards=True)
    env = make_env(describe_vec_env(envs))
    ours = [episode.total for episode in play_episodes(make_model(), env, RANDOM, episodes=12, frame_skip=4)]
    error = np.hypot(np.std(theirs), np.std(ours)) / np.sqrt(12)
    assert abs(np.mean(theirs) - np.mean(ours)) < 3 * error
    assert np.mean(theirs) > 3 * 0.33


def test_an_episode_is_cut_after_its_most_frames():
    env = make_env(Environment(id="ALE/Breakout-v5", sticky_actions=0.0))
    [episode] = play_episodes(make_model(bias=0), env, Protocol(epsilon=0, max_frames=400), episodes=1, frame_skip=4)
    assert (episode.steps, episode.total) == (100, 0.0)
    limits = [Protocol(max_frames=30, max_steps=9), Protocol(max_frames=None), Protocol(max_frames=3)]
    assert [protocol.steps(4) for protocol in limits] == [7, None, 1]


def test_the_best_of_a_training_on_lives_is_told_by_whole_games(tmp_path):
    settings = {**TINY, "env": "ALE/Breakout-v5", "encoder": "nature", "terminal_on_life_loss": True}
    config = TrainConfig(**{**settings, "fire_reset": True, "eval_epsilon": 1.0, "eval_episodes": 1, "eval_every": 20})
    trainer = Trainer(config, tmp_path)
    trainer.advance(20)
    [evaluation] = trainer.evaluations
    assert evaluation["episodes"][0]["steps"] > 100
    assert evaluation["protocol"] == {
        "name": None,
        "epsilon": 1.0,
        "sampled": False,
        "max_frames": 108_000,
        "max_steps": None,
        "whole_games": True,
        "sticky_actions": 0.25,
        "noop_max": 30,
        "fire_reset": True,
        "full_action_space": False,
        "differs": [],
    }
    assert Protocol.from_dict(json.loads(json.dumps(evaluation["protocol"]))) == config.protocol
    trainer.close()


@pytest.mark.parametrize("n_action", [4, 18])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_named_protocol_is_followed_as_far_as_the_network_can(name, n_action, tmp_path):
    kwargs = {"full_action_space": True} if n_action == 18 else {}
    env = make_env(Environment(id="ALE/Breakout-v5", kwargs=kwargs, fire_reset=True))
    config = ModelConfig(n_action=n_action, input_scale=255, hidden_size=8)
    save_model_checkpoint(make_model(n_action), config, None, tmp_path / "a", environment=env)
    with open_player(tmp_path / "a", protocol=PROTOCOLS[name]) as player:
        found, played = describe_env(player.env), player.protocol
    wanted = (0.25, 0) if name == "machado-2018" else (0.0, 30)
    assert (found.sticky_actions, found.noop_max, found.fire_reset) == (*wanted, False)
    assert (played.sticky_actions, played.noop_max, played.max_frames) == (*wanted, 18_000)
    assert played.full_action_space is (n_action == 18)
    follows = (name == "machado-2018") == (n_action == 18)
    assert played.differs == (() if follows else ("full_action_space",))


def test_evaluate_writes_the_protocol_into_the_manifest_and_says_where_it_differs(tmp_path):
    env = make_env(Environment(id="ALE/Pong-v5"))
    config = ModelConfig(n_action=6, input_scale=255, hidden_size=8)
    save_model_checkpoint(make_model(6), config, None, tmp_path / "a", environment=env)
    words = ["evaluate", tmp_path / "a", "--protocol", "machado-2018", "--episodes", 1, "--max-frames", 80]
    done = ckpt(*words, "--device", "cpu")
    assert (done.returncode, done.stderr) == (0, "differs from machado-2018 in full_action_space\n")
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        [evaluation] = checkpoint.manifest.evaluation
    assert evaluation["episodes"][0]["steps"] == 20
    assert (evaluation["protocol"]["name"], evaluation["protocol"]["epsilon"]) == ("machado-2018", 0.01)
    assert (evaluation["protocol"]["max_frames"], evaluation["protocol"]["sticky_actions"]) == (80, 0.25)


def test_an_evaluation_is_not_written_beside_another_network_than_the_one_that_played(tmp_path):
    path = tmp_path / "a"
    config = ModelConfig(n_action=6, input_scale=255, hidden_size=8)
    save_model_checkpoint(make_model(6), config, None, path)
    with ckptfmt.open(path) as checkpoint:
        played = checkpoint.manifest
    evaluation = Evaluation((Episode(21.0, 5, 0),), Protocol())
    # Another evaluation of the same network is no other network.
    add_evaluation(path, evaluation, played=played)
    add_evaluation(path, evaluation, played=played)
    newer = save_model_checkpoint(make_model(6, bias=2), config, None, path, overwrite=True)
    with pytest.raises(WriteError) as caught:
        add_evaluation(path, evaluation, played=played)
    assert str(caught.value) == f"{path}: was changed since it was read; run it again"
    with ckptfmt.open(path) as checkpoint:
        assert checkpoint.manifest == newer


_NEVER_FIRES = """
import os, sys, torch
torch.set_num_threads(1)
import ckptfmt.rl.training.evaluating as evaluating
from ckptfmt.cli.main import main
play = evaluating.evaluate
def evaluate(model, env, protocol, **options):
    with torch.no_grad():  # an agent that never fires
        model.fc[2].weight.zero_()
        model.fc[2].bias.zero_()[0] = 1.0
    print("evaluating", flush=True)
    return play(model, env, protocol, **options)
evaluating.evaluate = evaluate
sys.exit(main(sys.argv[1:]))
"""


def test_sigterm_ends_an_evaluation_of_an_agent_that_never_fires(tmp_path):
    out = tmp_path / "out"
    words = ["train", "--env", "ALE/Breakout-v5", "--device", "cpu", "--eval-every", "40", "--no-tensorboard"]
    words += ["--learning-starts", "100", "--replay-size", "1000", "--hidden-size", "16", "--out", str(out)]
    command = [sys.executable, "-P", "-c", _NEVER_FIRES, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert any(line == "evaluating\n" for line in process.stdout)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    [saved] = os.listdir(out)
    assert error == f"stopped; go on with: ckpt train --resume {out / saved}\n"
    assert saved == step_name(40)
    with ckptfmt.open(out / saved) as checkpoint:
        assert checkpoint.training_info["evaluations"] == []
        assert checkpoint.manifest.resume.lacks == ()


def test_an_evaluation_that_was_given_up_is_played_when_the_training_goes_on(tmp_path):
    settings = {**TINY, "total_steps": 120, "eval_every": 60, "eval_episodes": 2}
    Trainer(TrainConfig(**settings), tmp_path / "one").run()
    stopped = Trainer(TrainConfig(**settings), tmp_path / "two")
    stopped.advance(59)
    before = stopped.learner.online.get_q_values
    stopped.learner.online.get_q_values = lambda frames: (stopped.step == 60 and stopped.stop(), before(frames))[1]
    path = stopped.run()
    assert (path, stopped.evaluations) == (str(tmp_path / "two" / step_name(60)), [])
    resumed = Trainer.resume(path)
    assert_resume_exact(tmp_path / "one" / step_name(120), resumed.run())
    assert [evaluation["step"] for evaluation in resumed.evaluations] == [60, 120]
