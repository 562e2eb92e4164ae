"""Networks of families whose environments are not described yet are refused in a sentence, and never played wrongly."""

import pytest
import torch

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.rl.player import open_player


def test_a_policy_on_features_is_refused_before_anything_is_played(tmp_path):
    layers = {"actor.fc1": (8, 4), "actor_logits": (2, 8), "critic.fc1": (8, 4), "critic_value": (1, 8)}
    tensors = {f"{name}.weight": torch.zeros(shape) for name, shape in layers.items()}
    tensors |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in layers.items()}
    torch.save(tensors, tmp_path / "ppo.pt")
    assert ckptfmt.convert(tmp_path / "ppo.pt", tmp_path / "out").family == "actor-critic"
    with pytest.raises(CkptError) as caught, open_player(tmp_path / "out", game="CartPole-v1"):
        pass
    assert caught.value.what == "is of the family actor-critic, and only networks of atari-dqn are played so far"
