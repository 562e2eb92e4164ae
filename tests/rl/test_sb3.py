import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")

import gymnasium
from gymnasium import wrappers
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize

import ckptfmt
from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.rl.envs import make_env
from ckptfmt.rl.integrations.sb3 import SaveCheckpoints, describe_vec_env, resume
from ckptfmt.rl.load import load_model_checkpoint
from ckptfmt.rl.play import play_episodes
from ckptfmt.rl.player import open_player
from ckptfmt.store.manager import CheckpointManager

torch.set_num_threads(1)


def catch():
    return Monitor(wrappers.ReshapeObservation(gymnasium.make("ckptfmt/Catch-v0"), (36, 36, 1)))


@pytest.fixture
def model():
    envs = VecFrameStack(DummyVecEnv([catch]), 4)
    return DQN("CnnPolicy", envs, buffer_size=500, learning_starts=20, batch_size=4, train_freq=1, seed=3, device="cpu")


def test_a_dqn_is_saved_while_it_trains_and_rebuilt_without_it(model, tmp_path):
    model.learn(50, callback=SaveCheckpoints(tmp_path / "run", every=20))
    manager = CheckpointManager(tmp_path / "run")
    assert manager.steps() == [50, 40, 20]
    loaded, config, info = load_model_checkpoint(manager.path(50))
    assert (config.get_architecture_name(), config.input_shape, config.input_scale) == ("dqn", (4, 36, 36), 255.0)
    assert (config.n_action, config.game) == (3, "ckptfmt/Catch-v0")
    frames = np.random.default_rng(0).integers(0, 256, (5, 4, 36, 36), dtype=np.uint8)
    with torch.no_grad():
        wanted = model.q_net(torch.from_numpy(frames))
        assert torch.allclose(loaded.get_q_values(torch.from_numpy(frames)), wanted, rtol=1e-6, atol=1e-7)
    assert (info["frame_idx"], info["seed"], info["hyperparameters"]["batch_size"]) == (50, 3, 4)
    assert info["episode_idx"] == 4
    assert ckptfmt.validate(manager.path(50)).valid


def test_what_is_rebuilt_plays_as_the_model_does(model, tmp_path):
    model.learn(200, callback=SaveCheckpoints(tmp_path / "run", every=200))
    envs, theirs = model.get_env(), []
    for seed in range(5):
        envs.seed(seed)
        observation, over = envs.reset(), [False]
        while not over[0]:
            observation, reward, over, _ = envs.step(model.predict(observation, deterministic=True)[0])
        theirs.append(float(reward[0]))
    with open_player(tmp_path / "run" / "step-000000000200") as player:
        ours = list(play_episodes(player.model, player.env, player.protocol, episodes=5))
    assert [episode.total for episode in ours] == theirs
    assert [episode.steps for episode in ours] == [11] * 5


def test_checkpoints_differ_as_the_network_learns_and_share_a_run(model, tmp_path):
    model.learn(50, callback=SaveCheckpoints(tmp_path / "run", every=20))
    found = [ckptfmt.open(tmp_path / "run" / f"step-{step:012d}").manifest for step in (20, 40, 50)]
    assert len({manifest.content_digest for manifest in found}) == 3
    assert len({manifest.lineage.run_id for manifest in found}) == 1


def test_a_manager_says_what_is_kept(model, tmp_path):
    manager = CheckpointManager(tmp_path / "run", keep_last=1, keep_best=1, background=True)
    model.learn(60, callback=SaveCheckpoints(manager, every=20))
    best = manager.best()
    assert best is not None
    assert -1 <= best.manifest.extra["manager"]["metrics"]["reward"] <= 1
    assert len(manager.steps()) <= 2
    assert 60 in manager.steps()


def test_training_goes_on_from_where_it_was(model, tmp_path):
    model.learn(30, callback=SaveCheckpoints(tmp_path / "run", every=20))
    model.learn(30, callback=SaveCheckpoints(tmp_path / "run", every=20), reset_num_timesteps=False)
    assert CheckpointManager(tmp_path / "run").steps() == [60, 40, 30, 20]


def test_the_description_of_the_environment_rebuilds_it(model):
    description = describe_vec_env(model.get_env())
    assert description.wrappers == ()
    env = make_env(description)
    assert env.observation_space.shape == model.observation_space.shape == (4, 36, 36)


def test_what_cannot_be_rebuilt_is_named():
    envs = VecNormalize(DummyVecEnv([lambda: Odd(catch())]), norm_obs=False)
    assert describe_vec_env(envs).wrappers == ("VecNormalize", "Odd")
    with pytest.raises(CkptError):
        make_env(describe_vec_env(envs))


class Odd(gymnasium.Wrapper):
    """Changes the environment in a way that nobody knows."""


def test_an_emulator_that_skips_frames_by_itself_is_named():
    description = describe_vec_env(make_atari_env("ALE/Pong-v5"))
    assert (description.frame_skip, description.wrappers) == (4, ("frameskip=4",))
    with pytest.raises(CkptError) as caught:
        make_env(description)
    assert str(caught.value) == (
        "environment: the environment ALE/Pong-v5 cannot be made: "
        "it was wrapped in frameskip=4, which cannot be rebuilt"
    )


def test_environments_in_other_processes_are_described_by_what_they_are_wrapped_in():
    envs = SubprocVecEnv([catch], start_method="fork")
    description = describe_vec_env(VecFrameStack(envs, 4))
    envs.close()
    assert description == describe_vec_env(VecFrameStack(DummyVecEnv([catch]), 4))
    envs = SubprocVecEnv([lambda: Odd(catch())], start_method="fork")
    assert describe_vec_env(envs).wrappers == ("Odd",)
    envs.close()


def test_an_atari_game_in_another_process_is_described_as_one_in_this():
    same = {"env_id": "BreakoutNoFrameskip-v4", "wrapper_kwargs": {"noop_max": 7, "action_repeat_probability": 0.1}}
    envs = make_atari_env(**same, vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": "fork"})
    description = describe_vec_env(VecFrameStack(envs, 4))
    envs.close()
    assert description == describe_vec_env(VecFrameStack(make_atari_env(**same), 4))
    assert (description.noop_max, description.sticky_actions, description.wrappers) == (7, 0.1, ())


def test_several_environments_count_every_step(tmp_path):
    envs = VecFrameStack(DummyVecEnv([catch] * 3), 4)
    model = DQN("CnnPolicy", envs, buffer_size=500, learning_starts=20, batch_size=4, train_freq=1, device="cpu")
    model.learn(50, callback=SaveCheckpoints(tmp_path / "run", every=20))
    assert CheckpointManager(tmp_path / "run").steps() == [51, 42, 21]


def test_a_network_on_features_is_saved_as_what_it_is(tmp_path):
    model = DQN("MlpPolicy", gymnasium.make("CartPole-v1"), device="cpu", buffer_size=100, learning_starts=5)
    model.learn(10, callback=SaveCheckpoints(tmp_path / "run", every=5))
    with ckptfmt.open(tmp_path / "run" / "step-000000000010") as checkpoint:
        assert checkpoint.manifest.architecture.title == "q-network/dqn"
        assert (checkpoint.config.activation, checkpoint.config.game) == ("relu", "CartPole-v1")


def test_a_network_of_no_known_family_is_refused_before_the_first_step(tmp_path):
    sigmoid = {"activation_fn": torch.nn.Sigmoid}
    env = gymnasium.make("CartPole-v1")
    model = DQN("MlpPolicy", env, device="cpu", buffer_size=100, policy_kwargs=sigmoid)
    with pytest.raises(CkptError):
        model.learn(10, callback=SaveCheckpoints(tmp_path / "run", every=5))
    assert model.num_timesteps == 0
    model.learn(10, callback=SaveCheckpoints(tmp_path / "run", every=5, keep_unknown=True))
    with ckptfmt.open(tmp_path / "run" / "step-000000000010") as checkpoint:
        assert checkpoint.manifest.architecture is None
        assert "q_net.0.weight" in checkpoint.names()


class Poison(BaseCallback):
    """Ruins the network at a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def _on_step(self):
        if self.num_timesteps == self.step:
            with torch.no_grad():
                self.model.q_net.q_net[0].bias[0] = float("nan")
        return True


def test_nan_weights_end_the_training_and_leave_the_last_good_checkpoint(model, tmp_path):
    saves = CheckpointManager(tmp_path / "run", keep_last=1)
    with pytest.raises(WeightsError) as caught:
        model.learn(60, callback=[Poison(30), SaveCheckpoints(saves, every=20)])
    assert str(caught.value) == (
        f"{saves.path(40)}: conv.0.weight and 9 more tensors hold NaN or infinite numbers; "
        "go on from the checkpoint before, for example with a lower learning rate"
    )
    with saves.restore() as latest:
        assert latest.training_info["frame_idx"] == 20


def test_other_algorithms_are_refused(tmp_path):
    model = PPO("MlpPolicy", gymnasium.make("CartPole-v1"), device="cpu", n_steps=8, batch_size=8)
    with pytest.raises(CkptError) as caught:
        model.learn(8, callback=SaveCheckpoints(tmp_path / "run"))
    assert str(caught.value) == "SaveCheckpoints: PPO is not DQN, and it has no Q-network"


def make_model():
    envs = VecFrameStack(DummyVecEnv([catch]), 4)
    return DQN("CnnPolicy", envs, buffer_size=500, learning_starts=20, batch_size=4, train_freq=1, seed=3, device="cpu")


def test_a_training_goes_on_from_its_last_checkpoint_in_a_fresh_model(model, tmp_path):
    model.learn(60, callback=SaveCheckpoints(tmp_path / "run", every=40))
    other = make_model()
    lacks = resume(other, tmp_path / "run" / "step-000000000060")
    assert lacks == ("environments",)
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(other.policy.state_dict()[name], tensor)
    mine, theirs = model.policy.optimizer.state_dict(), other.policy.optimizer.state_dict()
    assert all(torch.equal(theirs["state"][i]["exp_avg"], entry["exp_avg"]) for i, entry in mine["state"].items())
    assert (other.num_timesteps, other._n_updates, other.replay_buffer.pos) == (60, model._n_updates, 60)
    assert np.array_equal(other.replay_buffer.observations, model.replay_buffer.observations)
    other.learn(20, callback=SaveCheckpoints(tmp_path / "run", every=40), reset_num_timesteps=False)
    assert CheckpointManager(tmp_path / "run").steps() == [80, 60, 40]
    with ckptfmt.open(tmp_path / "run" / "step-000000000040") as checkpoint:
        assert checkpoint.manifest.resume.lacks == ("environments", "replay")


def test_the_state_of_another_model_is_refused(model, tmp_path):
    model.learn(30, callback=SaveCheckpoints(tmp_path / "run", every=40))
    other = DQN("CnnPolicy", VecFrameStack(DummyVecEnv([catch]), 4), buffer_size=20, device="cpu")
    with pytest.raises(WeightsError) as caught:
        resume(other, tmp_path / "run" / "step-000000000030")
    assert str(caught.value) == "replay/pos: must be a number from 0 to 19"
