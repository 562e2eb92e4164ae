"""Where a training meets what is around it: spaces, settings, packages that are missing, vectors, logs, films."""

import subprocess
import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from gymnasium import spaces

import ckptfmt
from ckptfmt.errors import CkptError, ManifestError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.envs import Environment, make_env
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.integrations.adopt import adopt
from ckptfmt.rl.load import load_model_checkpoint
from ckptfmt.rl.save import save_model_checkpoint
from ckptfmt.rl.state import TrainingState
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.train import Trainer
from ckptfmt.store.manager.steps import step_name

from .test_save import UNSIGNED
from .test_train import TINY

SMALL = Environment(id="ckptfmt/Catch-v0", screen_size=20)


def small_model():
    config = ModelConfig(n_action=3, input_shape=(4, 20, 20), hidden_size=8, input_scale=255, encoder="nips")
    torch.manual_seed(1)
    return create_model_from_config(config), config


def test_images_too_small_for_the_usual_trunk_are_no_reason_to_refuse(tmp_path):
    env = make_env(SMALL)
    with pytest.raises(ManifestError):
        ModelConfig.from_training_config({}, env)
    model, config = small_model()
    save_model_checkpoint(model, config, None, tmp_path / "a", environment=env)
    assert load_model_checkpoint(tmp_path / "a", env=env)[1].replace(**UNSIGNED) == config
    copy = torch.nn.Sequential(model.conv, torch.nn.Flatten(), model.fc)
    assert adopt(copy, env, q_values=lambda x: copy(x / 255)).config.encoder == config.encoder


@pytest.mark.parametrize(
    ("action", "observation", "sentence"),
    [
        (
            spaces.MultiDiscrete([3, 2]),
            spaces.Box(0, 255, (4, 84, 84)),
            "env: the action space is MultiDiscrete, not Discrete; a value network has one output per action; "
            "give an environment whose action space is Discrete",
        ),
        (
            spaces.Discrete(3),
            spaces.Dict({"image": spaces.Box(0, 255, (4, 84, 84))}),
            "env: the observation space is Dict, and the network sees one array; "
            "give an environment whose observation space is a Box, for example its images alone",
        ),
    ],
)
def test_spaces_that_no_network_of_these_plays_get_a_sentence(action, observation, sentence):
    env = SimpleNamespace(action_space=action, observation_space=observation)
    with pytest.raises(CkptError) as caught:
        ModelConfig.from_training_config({}, env)
    assert str(caught.value) == sentence


def test_what_shows_several_arrays_is_adopted_by_no_network():
    seen = spaces.Dict({"image": spaces.Box(0, 255, (4, 84, 84))})
    with pytest.raises(CkptError) as caught:
        adopt(torch.nn.Linear(3, 3), SimpleNamespace(action_space=spaces.Discrete(3), observation_space=seen))
    assert str(caught.value) == (
        "env: the observation space is Dict, and the network sees one array; "
        "give an environment whose observation space is a Box, for example its images alone"
    )


def test_a_network_with_other_actions_or_frames_than_its_environment_is_refused(tmp_path):
    model, config = small_model()
    with pytest.raises(CkptError) as caught:
        save_model_checkpoint(model, config, None, tmp_path / "a", environment=make_env(Environment(id="ALE/Pong-v5")))
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: network and environment do not match: actions 3 (network) and 6 (environment), "
        "frames 4×20×20 (network) and 4×84×84 (environment); make the environment that the network was trained on"
    )
    assert not (tmp_path / "a").exists()
    flat = gymnasium.wrappers.ReshapeObservation(make_env(Environment(id=SMALL.id, frame_stack=1)), (36, 36, 1))
    with pytest.raises(CkptError):
        save_model_checkpoint(model, config, None, tmp_path / "a", environment=flat)


def test_settings_in_groups_are_read_and_those_not_used_are_told():
    env = make_env(Environment(id="ALE/Pong-v5"))
    told = []
    settings = {
        "model": {"dueling_dqn": True, "hidden_size": 64, "duelling": True},
        "training": SimpleNamespace(double_dqn=True, lr=1e-3),
        "noisy": True,
    }
    config = ModelConfig.from_training_config(settings, env, report=told.append)
    assert (config.dueling_dqn, config.hidden_size, config.double_dqn, config.noisy_networks) == (True, 64, True, False)
    assert [(problem.where, problem.fix) for problem in told] == [
        ("training config model.duelling", "if it is the field dueling_dqn, give it that name"),
        ("training config training.lr", ""),
        ("training config noisy", "if it is the field noisy_networks, give it that name"),
    ]
    assert {problem.code for problem in told} == {"config.unused"}
    with pytest.raises(ManifestError) as caught:
        ModelConfig.from_training_config({"a": {"hidden_size": 1}, "b": {"hidden_size": 2}}, env)
    assert str(caught.value) == "$.config.hidden_size: hidden_size is 1 in a.hidden_size and 2 in b.hidden_size"


_BARE = """
import sys
for name in ("gymnasium", "ale_py", "cv2"):
    sys.modules[name] = None
import torch
from ckptfmt import ModelConfig, create_model_from_config, load_model_checkpoint, save_model_checkpoint
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.state import TrainingState
config = ModelConfig(n_action=3, input_shape=(4, 36, 36), hidden_size=8)
model = create_model_from_config(config)
state = TrainingState(optimizer=torch.optim.Adam(model.parameters()))
save_model_checkpoint(model, config, {}, sys.argv[1], state=state, environment=Environment(id="ALE/Pong-v5"))
print(load_model_checkpoint(sys.argv[1])[1].get_architecture_name() == config.get_architecture_name())
"""


def test_saving_and_loading_need_neither_gymnasium_nor_the_emulator(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", _BARE, str(tmp_path / "a")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        assert checkpoint.manifest.environment["id"] == "ALE/Pong-v5"


def test_a_vector_of_environments_is_stored_where_it_can_be(tmp_path):
    model, config = small_model()

    def make(kind=gymnasium.vector.SyncVectorEnv):
        return kind([lambda: make_env(SMALL)] * 2)

    envs = make()
    envs.reset(seed=[1, 2])
    for _ in range(4):
        envs.step(np.array([1, 2]))
    state = TrainingState(environments=[envs], unused=["schedulers", "replay"])
    save_model_checkpoint(model, config, None, tmp_path / "a", state=state, environment=envs)
    wanted, other = envs.step(np.array([0, 1])), make()
    other.reset(seed=[8, 9])
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        TrainingState(environments=[other]).restore(checkpoint)
        assert checkpoint.manifest.environment["screen_size"] == 20
    assert np.array_equal(other.step(np.array([0, 1]))[0], wanted[0])
    pool = make(gymnasium.vector.AsyncVectorEnv)
    captured = TrainingState(environments=[pool]).capture()
    pool.close()
    assert "environments: AsyncVectorEnv keeps its games to itself" in captured.resume.lacks


def test_a_killed_training_leaves_no_point_twice_in_the_log(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = {**TINY, "tensorboard": True, "log_every": 10, "save_every": 50, "save_replay": "always"}
    killed = Trainer(TrainConfig(**settings), tmp_path)
    killed.advance(90)
    killed._scalars.close()  # what it wrote is there, and there it is killed
    resumed = Trainer.resume(tmp_path / step_name(50))
    resumed.advance(120)
    resumed.close()
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    assert [scalar.step for scalar in log.Scalars("train/epsilon")] == list(range(10, 130, 10))
