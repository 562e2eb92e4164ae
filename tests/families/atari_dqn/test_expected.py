import pytest

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.atari_dqn.expected import expected_tensors, optional_tensors


def test_a_plain_network_has_ten_tensors_of_the_nature_shapes():
    shapes = expected_tensors(ModelConfig(n_action=6))
    assert shapes == {
        "conv.0.weight": (32, 4, 8, 8), "conv.0.bias": (32,),
        "conv.2.weight": (64, 32, 4, 4), "conv.2.bias": (64,),
        "conv.4.weight": (64, 64, 3, 3), "conv.4.bias": (64,),
        "fc.0.weight": (512, 3136), "fc.0.bias": (512,),
        "fc.2.weight": (6, 512), "fc.2.bias": (6,),
    }  # fmt: skip


def test_a_rainbow_has_noisy_streams_and_a_support():
    config = ModelConfig(
        n_action=6, dueling_dqn=True, noisy_networks=True, distributional_dqn=True, n_atoms=51, v_min=-10, v_max=10
    )
    shapes = expected_tensors(config)
    assert shapes["advantage_stream.2.weight_sigma"] == (306, 512)
    assert shapes["value_stream.2.epsilon_output"] == (51,)
    assert shapes["support"] == (51,)
    assert not any(name.startswith("fc.") for name in shapes)


@pytest.mark.parametrize("noisy", [True, False])
def test_noise_may_be_left_out(noisy):
    config = ModelConfig(n_action=6, noisy_networks=noisy)
    left_out = {name.rpartition(".")[2] for name in optional_tensors(config)}
    assert left_out == ({"epsilon_input", "epsilon_output"} if noisy else set())
    assert optional_tensors(config) <= set(expected_tensors(config))
