"""Every family made of blocks: the module has the tensors that the config demands, and gives outputs of its shapes."""

import pytest
import torch

from ckptfmt.families import registry
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.rl.families.factory import create_model_from_config

MLP = [{"kind": "mlp", "sizes": [16, 8]}]
CONVS = [{"kind": "convs", "convs": [{"channels": 4, "kernel": 8, "stride": 4}], "norm": "batch"}, *MLP]
RESIDUAL = [{"kind": "residual", "channels": [4, 8]}, {"kind": "mlp", "sizes": [8], "norm": "layer"}]
CELL = [*MLP, {"kind": "cell", "cell": "gru", "size": 8, "layers": 2}]
GAUSSIAN = {"policy": "gaussian", "action_dim": 2}
CASES = {
    "actor-critic": [
        ({"observation": [5], "policy": "categorical", "n_action": 3, "policy_trunk": MLP, "value_trunk": MLP}, {}),
        ({"observation": [4, 36, 36], **GAUSSIAN, "deviation": "vector", "trunk": CONVS}, {}),
        ({"observation": [5], "policy": "multi-categorical", "choices": [2, 3]}, {}),
        ({"observation": [5], **GAUSSIAN, "deviation": "matrix", "policy_trunk": MLP}, {}),
        ({"observation": [5], **GAUSSIAN, "deviation": "head", "deviation_range": [-5, 2], "deviation_bound": "tanh",
          "normalizer": "deviation", "value_sees": "own", "value_normalizer": "variance"}, {}),
    ],
    "recurrent-actor-critic": [({"observation": [5], "policy": "categorical", "n_action": 3, "trunk": CELL}, {})],
    "actor-q": [
        ({"observation": [5], **GAUSSIAN, "deviation": "head", "n_critics": 2, "critic_trunk": MLP},
         {"action": (3, 2)}),
        ({"observation": [4, 36, 36], "policy": "categorical", "n_action": 3, "n_critics": 2,
          "policy_trunk": CONVS, "critic_trunk": CONVS}, {}),
        ({"observation": [5], "policy": "deterministic", "action_dim": 2, "n_critics": 1, "n_quantiles": 7,
          "saved_scale": True, "value_trunk": MLP}, {"action": (3, 2)}),
    ],
    "policy": [({"observation": [5], "policy": "beta", "action_dim": 2, "policy_trunk": MLP}, {})],
    "value": [({"observation": [5], "trunk": MLP}, {})],
    "action-value": [({"observation": [5], "action_dim": 2, "n_critics": 2, "critic_trunk": MLP}, {"action": (3, 2)})],
    "q-network": [
        ({"observation": [4, 36, 36], "n_action": 3, "trunk": RESIDUAL}, {}),
        ({"observation": [5], "n_action": 3, "n_atoms": 11, "v_min": -1, "v_max": 1, "dueling": True, "noisy": True,
          "trunk": MLP, "value_trunk": MLP, "advantage_trunk": MLP}, {}),
        ({"observation": [5], "n_action": 3, "n_critics": 2, "critic_trunk": MLP, "normalizer": "variance"}, {}),
    ],
    "recurrent-q": [({"observation": [5], "n_action": 3, "trunk": CELL}, {})],
    "quantile-q": [({"observation": [5], "n_action": 3, "n_quantiles": 7, "order": "quantile", "trunk": MLP}, {})],
    "implicit-quantile-q": [
        ({"observation": [5], "n_action": 3, "n_cosines": 6, "trunk": MLP, "n_fractions": 4}, {"taus": (4,)}),
    ],
    "batch-constrained-q": [({"observation": [5], "n_action": 3, "q_trunk": MLP, "imitation_trunk": MLP}, {})],
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "data", "given"), [(name, data, given) for name, cases in CASES.items() for data, given in cases]
)
def test_a_network_has_the_tensors_of_its_config_and_gives_finite_outputs(family, data, given):
    config = registry.find(family).config.from_dict(data)
    assert type(config).from_dict(config.to_dict()) == config
    model = create_model_from_config(config).eval()
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == dict(
        Blueprint.of(config).tensors()
    )
    lead = (6, 3) if model.is_recurrent else (3,)
    with torch.no_grad():
        found = model.outputs(torch.rand(*lead, *config.observation), **{k: torch.rand(s) for k, s in given.items()})
    assert found
    assert all(output.isfinite().all() for output in found.values())
    if "n_action" in data and "q_values" in found:
        assert found["q_values"].shape == (*lead, 3)


def test_every_family_made_of_blocks_is_tried():
    assert set(CASES) == set(registry.own()) - {"atari-dqn"}


def test_a_recurrent_network_goes_on_from_what_it_remembers():
    config = registry.find("recurrent-q").config.from_dict({"observation": [5], "n_action": 4, "trunk": CELL})
    model = create_model_from_config(config).eval()
    seen = torch.rand(6, 2, 5)
    whole = model.outputs(seen)["q_values"].argmax(-1)
    state = {}
    assert torch.equal(torch.stack([model.act(x, state) for x in seen]), whole)
