"""Networks in a line of words, each family in its own terms."""

import pytest

from ckptfmt.families import registry
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.look.sketch import sketch

MLP = [{"kind": "mlp", "sizes": [16, 8]}]
CELL = [{"kind": "cell", "cell": "gru", "size": 8}]
CONVS = [
    {"kind": "convs", "convs": [{"channels": 4, "kernel": 8, "stride": 4}, {"channels": 8, "kernel": 4, "stride": 2}]}
]
RESIDUAL = [{"kind": "residual", "channels": [16, 32]}]
REAL = {"observation": [5], "action_dim": 2}
DISCRETE = {"observation": [5], "n_action": 3}
WORDS = {
    "actor-critic": (
        {"observation": [5], "policy": "multi-categorical", "choices": [2, 3], "policy_trunk": MLP, "value_trunk": MLP},
        "5 -> choices of 2 and 3, policy mlp 16 8, value mlp 16 8, relu",
    ),
    "recurrent-actor-critic": (
        {**DISCRETE, "policy": "categorical", "trunk": [*MLP, *CELL]},
        "5 -> 3 actions, trunk mlp 16 8 gru 8, relu",
    ),
    "actor-q": (
        {**REAL, "policy": "gaussian", "n_critics": 2, "n_quantiles": 25, "critic_trunk": MLP, "activation": "elu"},
        "5 -> 2 real numbers, 25 quantiles, 2 critics mlp 16 8, elu",
    ),
    "q-network": (
        {**DISCRETE, "observation": [4, 84, 84], "trunk": RESIDUAL},
        "4×84×84 -> 3 actions, trunk residual 16 32, relu",
    ),
    "recurrent-q": ({**DISCRETE, "trunk": CELL}, "5 -> 3 actions, trunk gru 8, relu"),
    "quantile-q": (
        {**DISCRETE, "n_quantiles": 200, "trunk": MLP},
        "5 -> 3 actions, 200 quantiles, trunk mlp 16 8, relu",
    ),
    "implicit-quantile-q": (
        {**DISCRETE, "observation": [4, 84, 84], "input_scale": 255, "n_cosines": 64, "trunk": CONVS},
        "4×84×84 / 255 -> 3 actions, trunk convs 4 8, relu",
    ),
    "batch-constrained-q": ({**DISCRETE, "q_trunk": MLP}, "5 -> 3 actions, q mlp 16 8, relu"),
    "policy": ({**REAL, "policy": "beta"}, "5 -> 2 real numbers, relu"),
    "value": ({"observation": [5], "trunk": MLP}, "5 -> a value, trunk mlp 16 8, relu"),
    "action-value": ({**REAL, "n_critics": 1, "critic_trunk": MLP}, "5 -> 2 real numbers, critic mlp 16 8, relu"),
}


@pytest.mark.parametrize("family", WORDS)
def test_a_network_of_blocks_is_told_in_a_line(family):
    config, words = WORDS[family]
    assert sketch(Blueprint.of(registry.find(family).config.from_dict(config)).config.to_dict()) == words


def test_every_family_made_of_blocks_is_told():
    assert {*WORDS, "atari-dqn"} == set(registry.own())


@pytest.mark.parametrize("config", [{}, {"observation": 4}, {"observation": "4"}, {"n_action": 4}])
def test_what_is_no_network_of_blocks_has_no_words(config):
    assert sketch(config) == ""


def test_a_config_that_nobody_checked_breaks_nothing():
    odd = {"observation": [None, {}], "trunk": [7, {"kind": 3, "sizes": 4}], "choices": 3, "input_scale": "x"}
    assert sketch(odd) == "None×{} -> a value, trunk 3"
