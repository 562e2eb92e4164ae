"""What people paste: the few lines that save, load, migrate and go on, as they stand in a training script."""

from dataclasses import dataclass

import gymnasium
import pytest
import torch

import ckptfmt
from ckptfmt import (
    AssumedWarning,
    ModelConfig,
    create_model_from_config,
    load_legacy_checkpoint,
    load_model_checkpoint,
    migrate_old_checkpoint,
    save_model_checkpoint,
)
from ckptfmt.families.atari_dqn.config import ARCHITECTURES
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.make import make_env


@dataclass
class TrainingConfig:
    game: str = "ALE/Pong-v5"
    learning_rate: float = 1e-4
    dueling_dqn: bool = True
    distributional_dqn: bool = False
    noisy_networks: bool = False
    n_atoms: int = 51
    v_min: float = -10.0
    v_max: float = 10.0


class Frames(gymnasium.Env):
    """Stands for a preprocessed game: four grey frames and six actions."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 84, 84), "uint8")
    action_space = gymnasium.spaces.Discrete(6)


@pytest.fixture
def env():
    return Frames()


def test_a_network_is_saved_and_loaded_with_what_was_said_of_its_training(env, tmp_path, capsys):
    checkpoint_path = tmp_path / "dqn_best"
    config = TrainingConfig()

    model_config = ModelConfig.from_training_config(config, env)
    model = create_model_from_config(model_config)
    training_info = {
        "frame_idx": 1_000_000,
        "episode": 5_000,
        "best_eval_reward": 18.5,
        "mean_eval_reward": 17.2,
        "epsilon": 0.01,
    }
    save_model_checkpoint(model, model_config, training_info, checkpoint_path)

    model, model_config, training_info = load_model_checkpoint(checkpoint_path, device="cpu")
    print(f"Loaded {model_config.get_architecture_name()} trained on {training_info['game']}")
    q_values = model.get_q_values(torch.zeros(1, 4, 84, 84))

    assert capsys.readouterr().out == "Loaded dueling trained on ALE/Pong-v5\n"
    assert q_values.shape == (1, 6)
    assert training_info["frame_idx"] == 1_000_000
    assert ckptfmt.validate(checkpoint_path).valid


def test_a_saved_config_says_when_and_by_what_it_was_saved(env, tmp_path):
    model_config = ModelConfig.from_training_config(TrainingConfig(), env)
    save_model_checkpoint(create_model_from_config(model_config), model_config, {}, tmp_path / "a")
    _, saved, _ = load_model_checkpoint(tmp_path / "a")
    assert saved.created_at.endswith("Z")
    assert saved.model_version == "1.0"
    assert saved.framework_version == f"torch {torch.__version__}"
    assert saved.training_config_hash == model_config.training_config_hash
    assert saved.training_config_hash.startswith("sha256:")


def test_the_game_comes_from_the_environment_where_the_settings_name_none():
    env = make_env(Environment(id="ckptfmt/Catch-v0"))
    assert ModelConfig.from_training_config({}, env).game == "ckptfmt/Catch-v0"
    assert ModelConfig.from_training_config({"game": "Catch"}, env).game == "Catch"


def test_a_legacy_file_is_loaded_and_migrated(env, tmp_path):
    old_path, new_path = tmp_path / "dqn_best.pth", tmp_path / "dqn_best"
    config = ModelConfig.from_training_config(TrainingConfig(), env)
    old = create_model_from_config(config)
    torch.save(old.state_dict(), old_path)

    with pytest.warns(AssumedWarning, match="input_scale"):
        model, model_config, training_info = load_legacy_checkpoint(old_path, env)
    migrate_old_checkpoint(old_path, new_path)
    with pytest.warns(AssumedWarning, match="input_scale"):
        migrated, migrated_config, _ = load_model_checkpoint(new_path)

    x = torch.rand(2, 4, 84, 84)
    assert torch.equal(old.eval().get_q_values(x), model.get_q_values(x))
    assert torch.equal(old.get_q_values(x), migrated.get_q_values(x))
    assert model_config.get_architecture_name() == migrated_config.get_architecture_name() == "dueling"
    assert training_info == {}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_of_the_eight_makes_the_round_trip(architecture, env, tmp_path):
    config = TrainingConfig(
        dueling_dqn="dueling" in architecture,
        distributional_dqn="distributional" in architecture,
        noisy_networks="noisy" in architecture,
    )
    model_config = ModelConfig.from_training_config(config, env)
    assert model_config.get_architecture_name() == architecture
    model = create_model_from_config(model_config)
    save_model_checkpoint(model, model_config, {"frame_idx": 0}, tmp_path / "a")
    loaded, loaded_config, _ = load_model_checkpoint(tmp_path / "a")
    assert loaded_config.get_architecture_name() == architecture
    assert all(torch.equal(mine, loaded.state_dict()[name]) for name, mine in model.state_dict().items())
