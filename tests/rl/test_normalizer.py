"""Networks that normalise what they see by running statistics: the same numbers as the formulas of their code bases."""

import gymnasium
import numpy as np
import pytest
import torch
from torch.nn import functional

import ckptfmt
from ckptfmt.rl.acting import Actor


def linear(rows, inputs, name):
    return {f"{name}.weight": torch.randn(rows, inputs) / inputs**0.5, f"{name}.bias": torch.randn(rows)}


def loaded(tensors, folder, **facts):
    torch.save({"model": tensors}, folder / "model.pth")
    ckptfmt.convert(folder / "model.pth", folder / "out", **facts)
    return ckptfmt.load_model_checkpoint(folder / "out")[0]


@pytest.mark.filterwarnings("ignore::ckptfmt.errors.AssumedWarning")
def test_statistics_of_observations_and_returns_are_applied_as_rl_games_does(tmp_path):
    torch.manual_seed(0)
    moments = {"mean": (lambda n: torch.randn(n).double()), "var": (lambda n: torch.rand(n).double() + 0.1)}
    tensors = {
        f"{name}.running_{part}": draw(size)
        for name, size in (("value_mean_std", 1), ("running_mean_std", 5))
        for part, draw in moments.items()
    }
    tensors |= linear(8, 5, "a2c_network.actor_mlp.0") | linear(1, 8, "a2c_network.value")
    tensors |= linear(2, 8, "a2c_network.mu") | {"a2c_network.sigma": torch.randn(2)}
    model = loaded(tensors, tmp_path)
    x = 20 * torch.randn(64, 5)
    mean, variance = (tensors[f"running_mean_std.running_{part}"].float() for part in moments)
    seen = ((x - mean) / (variance + 1e-5).sqrt()).clamp(-5, 5)
    hidden = functional.elu(
        functional.linear(seen, tensors["a2c_network.actor_mlp.0.weight"], tensors["a2c_network.actor_mlp.0.bias"])
    )
    value = functional.linear(hidden, tensors["a2c_network.value.weight"], tensors["a2c_network.value.bias"])
    mean, variance = (tensors[f"value_mean_std.running_{part}"].float() for part in moments)
    wanted = value.clamp(-5, 5) * (variance + 1e-5).sqrt() + mean
    found = model.outputs(x)
    assert (seen.abs() == 5).any()
    assert torch.allclose(found["value"], wanted.squeeze(-1), rtol=1e-5, atol=1e-5)
    assert found["mean"].shape == (64, 2)


@pytest.mark.filterwarnings("ignore::ckptfmt.errors.AssumedWarning")
def test_policy_and_value_may_normalise_by_statistics_of_their_own(tmp_path):
    torch.manual_seed(0)
    tensors = {"std": torch.rand(2) + 0.1}
    for side, rows in (("actor", 2), ("critic", 1)):
        tensors |= linear(8, 5, f"{side}.0") | linear(rows, 8, f"{side}.2")
        tensors |= {f"{side}_obs_normalizer.{part}": torch.rand(1, 5) + 0.1 for part in ("_mean", "_var", "_std")}
    found = loaded(tensors, tmp_path).outputs(x := torch.randn(4, 5))
    for side, name in (("actor", "mean"), ("critic", "value")):
        mean, deviation = (tensors[f"{side}_obs_normalizer.{part}"] for part in ("_mean", "_std"))
        hidden = functional.elu(
            functional.linear((x - mean) / (deviation + 1e-2), tensors[f"{side}.0.weight"], tensors[f"{side}.0.bias"])
        )
        wanted = functional.linear(hidden, tensors[f"{side}.2.weight"], tensors[f"{side}.2.bias"])
        assert torch.allclose(found[name], wanted.view_as(found[name]), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::ckptfmt.errors.AssumedWarning")
def test_a_deviation_is_stretched_over_its_range_by_a_tanh_as_cleanrl_does(tmp_path):
    torch.manual_seed(0)
    actor = linear(8, 5, "fc1") | linear(2, 8, "fc_mean") | linear(2, 8, "fc_logstd")
    actor |= {"action_scale": torch.full((1, 2), 2.0), "action_bias": torch.zeros(1, 2)}
    critics = [linear(8, 7, "fc1") | linear(1, 8, "fc2") for _ in range(2)]
    torch.save((actor, *critics), tmp_path / "sac.pth")
    ckptfmt.convert(tmp_path / "sac.pth", tmp_path / "out")
    found = ckptfmt.load_model_checkpoint(tmp_path / "out")[0].outputs(x := torch.randn(4, 5))
    hidden = functional.linear(x, actor["fc1.weight"], actor["fc1.bias"]).relu()
    logs = functional.linear(hidden, actor["fc_logstd.weight"], actor["fc_logstd.bias"])
    assert torch.allclose(found["log_std"], -5 + 0.5 * 7 * (logs.tanh() + 1), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::ckptfmt.errors.AssumedWarning")
def test_a_network_with_batch_normalisation_is_loaded_and_gives_the_same_q_values(tmp_path):
    torch.manual_seed(0)
    convs = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 8, 4, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    network = torch.nn.Sequential(convs, torch.nn.Flatten(), torch.nn.Linear(512, 16), torch.nn.ReLU())
    head = torch.nn.Linear(16, 3)
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(8, 4, 36, 36))
    names = {"0.0": "conv1", "0.1": "bn1", "2": "fc1"}
    tensors = {f"{names[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": t for n, t in network.state_dict().items()}
    tensors |= {f"q_values.{name}": tensor for name, tensor in head.state_dict().items()}
    model = loaded(tensors, tmp_path, input_shape=(4, 36, 36), input_scale=1.0)
    x = torch.rand(2, 4, 36, 36)
    assert torch.allclose(model.get_q_values(x), head(network.eval()(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::ckptfmt.errors.AssumedWarning")
def test_what_an_agent_normalises_before_its_network_is_normalised_for_who_acts(tmp_path):
    torch.manual_seed(0)
    policy = linear(8, 5, "net.0") | linear(2, 8, "net.2") | {"log_std_parameter": torch.zeros(2)}
    value = linear(8, 5, "net.0") | linear(1, 8, "net.2")
    moments = {"running_mean": torch.randn(5).double(), "running_variance": torch.rand(5).double() + 0.1}
    returns = {name: item[:1] for name, item in moments.items()}
    torch.save(
        {"policy": policy, "value": value, "state_preprocessor": moments, "value_preprocessor": returns},
        tmp_path / "agent.pt",
    )
    ckptfmt.convert(tmp_path / "agent.pt", tmp_path / "out")
    model = ckptfmt.load_model_checkpoint(tmp_path / "out")[0]

    def through(tensors, x):
        hidden = functional.linear(x, tensors["net.0.weight"], tensors["net.0.bias"]).tanh()
        return functional.linear(hidden, tensors["net.2.weight"], tensors["net.2.bias"])

    x = 20 * torch.randn(64, 5)
    seen = (x - moments["running_mean"].float()) / moments["running_variance"].float().sqrt()
    found = model.outputs(x)
    assert torch.allclose(found["mean"], through(policy, x), atol=1e-5)
    assert torch.allclose(found["value"], through(value, x).squeeze(-1), atol=1e-5)
    acted = through(policy, seen.clamp(-5, 5))
    assert torch.allclose(model.act(x), acted, atol=1e-5)
    actor = Actor(model, gymnasium.spaces.Box(-100, 100, (2,)), np.random.default_rng(0))
    assert np.allclose(actor.act(x[0].numpy()), acted[0].numpy(), atol=1e-5)
    exported = ckptfmt.export(tmp_path / "out", tmp_path / "net.pt2", to="pt2")
    assert exported.left_out == ("config", "what normalises the observations before the network")
