from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.errors import ManifestError
from ckptfmt.families.atari_dqn.config import ARCHITECTURES, ModelConfig, architecture_name

configs = st.builds(
    lambda atoms, **fields: ModelConfig(
        **fields,
        distributional_dqn=atoms is not None,
        **({} if atoms is None else {"n_atoms": atoms, "v_min": -10.0, "v_max": 10.0}),
    ),
    atoms=st.none() | st.integers(1, 201),
    n_action=st.integers(1, 18),
    dueling_dqn=st.booleans(),
    noisy_networks=st.booleans(),
    double_dqn=st.booleans(),
    hidden_size=st.integers(1, 1024),
    n_steps=st.integers(1, 20),
    game=st.none() | st.text(),
    encoder=st.sampled_from(["nature", "nips", "data-efficient"]),
)


@given(configs)
def test_a_config_comes_back_from_its_manifest_form(config):
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_all_eight_architectures_have_their_name():
    names = {
        architecture_name(dueling=d, distributional=c, noisy=n)
        for d in (False, True)
        for c in (False, True)
        for n in (False, True)
    }
    assert names == set(ARCHITECTURES)


def test_numpy_numbers_of_an_environment_become_plain():
    config = ModelConfig(n_action=np.int64(6), input_shape=np.array([4, 84, 84]), dueling_dqn=np.bool_(True))
    assert config.n_action == 6
    assert type(config.n_action) is int
    assert config.input_shape == (4, 84, 84)
    assert config.dueling_dqn is True


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_action": 0}, "$.config.n_action: n_action must be a whole number of 1 or more, not 0"),
        ({"n_action": True}, "$.config.n_action: n_action must be a whole number of 1 or more, not True"),
        ({"n_action": 6.5}, "$.config.n_action: n_action must be a whole number of 1 or more, not 6.5"),
        ({"n_action": 6, "dueling_dqn": 1}, "$.config.dueling_dqn: dueling_dqn must be true or false, not 1"),
        (
            {"n_action": 6, "input_shape": (84, 84)},
            "$.config.input_shape: input_shape must be (channels, height, width), not 2 numbers",
        ),
        (
            {"n_action": 6, "n_atoms": 51},
            "$.config.n_atoms: n_atoms belongs to a distributional network, and this one is not",
        ),
        (
            {"n_action": 6, "distributional_dqn": True, "n_atoms": 51, "v_max": 1},
            "$.config.v_min: v_min is needed by a distributional network",
        ),
        (
            {"n_action": 6, "distributional_dqn": True, "n_atoms": 51, "v_min": 3, "v_max": 1},
            "$.config.v_min: v_min must be less than v_max (1)",
        ),
        (
            {"n_action": 6, "input_scale": 0},
            "$.config.input_scale: input_scale must be a finite number of more than 0, not 0",
        ),
        (
            {"n_action": 6, "input_scale": float("inf")},
            "$.config.input_scale: input_scale must be a finite number of more than 0, not inf",
        ),
        (
            {"n_action": 6, "noisy_std_init": float("nan")},
            "$.config.noisy_std_init: noisy_std_init must be a finite number, not nan",
        ),
        (
            {"n_action": 6, "input_shape": (4, 8, 8)},
            "$.config.input_shape: an input of 4×8×8 is too small for these convolutions",
        ),
        ({"n_action": 6, "frames": 3}, "$.config.frames: frames is no field of a model config"),
        ({}, "$.config.n_action: n_action is missing"),
    ],
)
def test_the_first_wrong_field_is_named(fields, sentence):
    with pytest.raises(ManifestError) as caught:
        ModelConfig.from_dict(fields)
    assert str(caught.value) == sentence


class Training:
    dueling_dqn = True
    learning_rate = 1e-4
    double_dqn = True
    n_atoms = 51

    def schedule(self): ...


def make_env(shape, **more):
    return SimpleNamespace(
        action_space=SimpleNamespace(n=np.int64(14)), observation_space=SimpleNamespace(shape=shape), **more
    )


def test_training_settings_give_the_flags_and_the_env_the_shapes():
    config = ModelConfig.from_training_config(Training, make_env((4, 84, 84)))
    assert (config.n_action, config.input_shape, config.dueling_dqn, config.double_dqn) == (14, (4, 84, 84), True, True)
    assert config.n_atoms is None
    assert config.training_config_hash.startswith("sha256:")


def test_settings_as_a_mapping_hash_by_content_and_not_by_order():
    env = make_env((4, 84, 84))
    one = ModelConfig.from_training_config({"a": 1, "lr": 0.1}, env)
    two = ModelConfig.from_training_config({"lr": 0.1, "a": 1}, env)
    other = ModelConfig.from_training_config({"lr": 0.2, "a": 1}, env)
    assert one.training_config_hash == two.training_config_hash != other.training_config_hash


def test_a_vector_env_gives_the_shapes_of_one():
    single = {
        "single_action_space": SimpleNamespace(n=3),
        "single_observation_space": SimpleNamespace(shape=(4, 84, 84, 1)),
    }
    config = ModelConfig.from_training_config({}, make_env((8, 4, 84, 84), **single))
    assert (config.n_action, config.input_shape) == (3, (4, 84, 84))
