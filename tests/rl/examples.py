"""One network of each family and name that exports are tried with."""

from pathlib import Path
from typing import Any

import torch

import ckptfmt
from ckptfmt.families import registry
from ckptfmt.rl.families.factory import create_model_from_config

__all__ = ["NETWORKS", "config_of", "save_network"]

NATURE = [{"channels": 32, "kernel": 8, "stride": 4}, {"channels": 64, "kernel": 4, "stride": 2},
          {"channels": 64, "kernel": 3, "stride": 1}]  # fmt: skip
FRAMES: dict[str, Any] = {"observation": [4, 84, 84], "input_scale": 255.0}
SMALL: dict[str, Any] = {"observation": [4, 36, 36], "input_scale": 255.0}
ROW: dict[str, Any] = {"observation": [5]}
ATOMS: dict[str, Any] = {"n_atoms": 11, "v_min": -1.0, "v_max": 1.0}
TANH = {"activation": "tanh"}


def mlp(*sizes: int, **more: Any) -> list[dict[str, Any]]:
    """Linear layers in a row."""
    return [{"kind": "mlp", "sizes": list(sizes), **more}]


def seeing(*sizes: int) -> list[dict[str, Any]]:
    """The convolutions of the Nature paper and linear layers behind them."""
    return [{"kind": "convs", "convs": NATURE}, *mlp(*sizes)]


def cell(kind: str) -> list[dict[str, Any]]:
    """A linear layer and a recurrent cell."""
    return [*mlp(8), {"kind": "cell", "cell": kind, "size": 6}]


def lstm(*sizes: int, layers: int = 1) -> list[dict[str, Any]]:
    """An LSTM and linear layers behind it."""
    return [{"kind": "cell", "cell": "lstm", "size": 6, "layers": layers}, *(mlp(*sizes) if sizes else [])]


def apart(*sizes: int, **more: Any) -> dict[str, Any]:
    """A policy and a value, each with its own layers."""
    return {"policy_trunk": mlp(*sizes, **more), "value_trunk": mlp(*sizes, **more)}


def critics(*sizes: int, count: int = 2) -> dict[str, Any]:
    """A policy and its critics, each with its own layers."""
    return {"policy_trunk": mlp(*sizes), "critic_trunk": mlp(*sizes), "n_critics": count}


def atari(*words: str, **more: Any) -> dict[str, Any]:
    """One of the eight."""
    flags = {"dueling_dqn": "dueling", "distributional_dqn": "distributional", "noisy_networks": "noisy"}
    support = ATOMS if "distributional" in words else {}
    return {"n_action": 6, "input_scale": 255.0, **{flag: word in words for flag, word in flags.items()}, **support,
            **more}  # fmt: skip


DISCRETE: dict[str, Any] = {"policy": "categorical", "n_action": 3}
GAUSSIAN: dict[str, Any] = {"policy": "gaussian", "action_dim": 2}
SPREAD: dict[str, Any] = {**GAUSSIAN, "deviation": "vector"}
SQUASHED: dict[str, Any] = {**GAUSSIAN, "squash": "tanh", "deviation": "head", "deviation_range": [-20.0, 2.0]}
ACTING: dict[str, Any] = {"policy": "deterministic", "action_dim": 2, "squash": "tanh"}
MANY: dict[str, Any] = {"policy": "multi-categorical", "choices": [2, 4]}

# What it is called in the table, and the config of its family.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "dqn": ("atari-dqn", atari()),
    "dueling": ("atari-dqn", atari("dueling")),
    "distributional": ("atari-dqn", atari("distributional")),
    "noisy": ("atari-dqn", atari("noisy")),
    "dueling+distributional": ("atari-dqn", atari("dueling", "distributional")),
    "dueling+noisy": ("atari-dqn", atari("dueling", "noisy")),
    "distributional+noisy": ("atari-dqn", atari("distributional", "noisy")),
    "dueling+distributional+noisy": ("atari-dqn", atari("dueling", "distributional", "noisy")),
    "dqn, 120 and 84 units": ("q-network", {**ROW, "n_action": 3, "trunk": mlp(120, 84)}),
    "dqn, other sizes": ("q-network", {**ROW, **TANH, "n_action": 3, "trunk": mlp(16, 8)}),
    "dqn on frames, two hidden layers": ("q-network", {**SMALL, "n_action": 3, "trunk": seeing(16, 8)}),
    "dqn, residual": ("q-network", {**SMALL, "n_action": 3, "trunk": [{"kind": "residual", "channels": [4]}, *mlp(8)]}),
    "dqn, normalised": ("q-network", {**ROW, "n_action": 3, "trunk": mlp(16, norm="layer")}),
    "distributional, 120 and 84 units": ("q-network", {**ROW, **ATOMS, "n_action": 3, "trunk": mlp(120, 84)}),
    "dueling, noisy": ("q-network", {**ROW, "n_action": 3, "dueling": True, "noisy": True, "trunk": mlp(16)}),
    "quantile": ("quantile-q", {**ROW, "n_action": 3, "n_quantiles": 7, "order": "quantile", "trunk": mlp(16, 8)}),
    "quantile, by action": ("quantile-q", {**ROW, "n_action": 3, "n_quantiles": 7, "trunk": mlp(16)}),
    "quantile on frames": (
        "quantile-q", {**SMALL, "n_action": 3, "n_quantiles": 7, "order": "quantile", "trunk": seeing(16)},
    ),
    "dueling+quantile": ("quantile-q", {**ROW, "n_action": 3, "n_quantiles": 7, "dueling": True, "trunk": mlp(16)}),
    "iqn": ("implicit-quantile-q", {**ROW, "n_action": 3, "n_cosines": 6, "trunk": mlp(16)}),
    "fqf": ("implicit-quantile-q", {**ROW, "n_action": 3, "n_cosines": 6, "n_fractions": 4, "trunk": mlp(16)}),
    "lstm": ("recurrent-q", {**ROW, "n_action": 3, "trunk": cell("lstm")}),
    "gru": ("recurrent-q", {**ROW, "n_action": 3, "trunk": cell("gru")}),
    "categorical, 64 and 64 units": ("actor-critic", {**ROW, **DISCRETE, **TANH, **apart(64, 64)}),
    "categorical, other sizes": ("actor-critic", {**ROW, **DISCRETE, **apart(16, 8)}),
    "categorical, layers of both": ("actor-critic", {**ROW, **DISCRETE, "trunk": mlp(16)}),
    "categorical on frames": ("actor-critic", {**FRAMES, **DISCRETE, "trunk": seeing(512)}),
    "categorical on frames, apart": (
        "actor-critic", {**SMALL, **DISCRETE, "policy_trunk": seeing(16), "value_trunk": seeing(16)},
    ),
    "multi-categorical": ("actor-critic", {**ROW, **MANY, **TANH, **apart(16)}),
    "gaussian, 64 and 64 units": ("actor-critic", {**ROW, **SPREAD, **TANH, **apart(64, 64)}),
    "gaussian, exploring by the state": (
        "actor-critic", {**ROW, **GAUSSIAN, **TANH, **apart(16), "deviation": "matrix"},
    ),
    "gaussian, plain deviation": ("actor-critic", {**ROW, **SPREAD, **TANH, **apart(16), "deviation_is": "plain"}),
    "gaussian, deviation of each state": ("actor-critic", {**ROW, **GAUSSIAN, **apart(16), "deviation": "head"}),
    "categorical+lstm": ("recurrent-actor-critic", {**ROW, **DISCRETE, "trunk": cell("lstm")}),
    "categorical+lstm, one each": (
        "recurrent-actor-critic",
        {**ROW, **DISCRETE, **TANH, "policy_trunk": lstm(8, layers=2), "value_trunk": lstm(8, layers=2)},
    ),
    "categorical+lstm, one before both": (
        "recurrent-actor-critic",
        {**ROW, **DISCRETE, **TANH, "trunk": lstm(), "policy_trunk": mlp(8), "value_trunk": mlp(8)},
    ),
    "categorical+lstm on frames": (
        "recurrent-actor-critic",
        {**SMALL, **DISCRETE, "trunk": seeing(16), "policy_trunk": lstm(), "value_trunk": lstm()},
    ),
    "gaussian+lstm, the policy's alone": (
        "recurrent-actor-critic",
        {**ROW, **SPREAD, **TANH, "policy_trunk": lstm(8), "value_trunk": [*mlp(6, activation="none"), *mlp(8)]},
    ),
    "gaussian+gru": ("recurrent-actor-critic", {**ROW, **SPREAD, "trunk": cell("gru")}),
    "gaussian+twin-q": ("actor-q", {**ROW, **SQUASHED, **critics(16, 8)}),
    "gaussian+twin-q, exploring by the state": (
        "actor-q",
        {**ROW, **GAUSSIAN, "squash": "tanh", **critics(16), "deviation": "matrix", "mean_range": [-2.0, 2.0]},
    ),
    "gaussian+twin-q on frames": (
        "actor-q", {**SMALL, **SQUASHED, **critics(8), "trunk": seeing(16)},
    ),
    "gaussian+twin-q+value": ("actor-q", {**ROW, **SQUASHED, **critics(16), "value_trunk": mlp(16)}),
    "gaussian+twin-quantile-q": ("actor-q", {**ROW, **SQUASHED, **critics(16), "n_quantiles": 5}),
    "deterministic+q": ("actor-q", {**ROW, **ACTING, **critics(16, count=1)}),
    "deterministic+twin-q": ("actor-q", {**ROW, **ACTING, **critics(16)}),
    "deterministic+twin-q, copies of all": ("actor-q", {**ROW, **ACTING, **critics(16), "target": "all"}),
    "gaussian+twin-q, copies of critics": ("actor-q", {**ROW, **SQUASHED, **critics(16), "target": "critics"}),
    "deterministic+q, 256 and 256 units, scale saved": (
        "actor-q", {**ROW, **ACTING, **critics(256, 256, count=1), "saved_scale": True},
    ),
    "deterministic+twin-q, 256 and 256 units, scale saved": (
        "actor-q", {**ROW, **ACTING, **critics(256, 256), "saved_scale": True},
    ),
    "categorical+twin-q": ("actor-q", {**ROW, **DISCRETE, **critics(16)}),
    "categorical": ("policy", {**ROW, **DISCRETE, "policy_trunk": mlp(16)}),
    "gaussian": ("policy", {**ROW, **SQUASHED, "policy_trunk": mlp(16)}),
    "deterministic": ("policy", {**ROW, **ACTING, "policy_trunk": mlp(16)}),
    "beta": ("policy", {**ROW, "policy": "beta", "action_dim": 2, "policy_trunk": mlp(16)}),
    "state-value": ("value", {**ROW, "trunk": mlp(16)}),
    "twin-q": ("action-value", {**ROW, "action_dim": 2, "n_critics": 2, "critic_trunk": mlp(16)}),
    "bcq": ("batch-constrained-q", {**ROW, "n_action": 3, "q_trunk": mlp(16), "imitation_trunk": mlp(16)}),
}  # fmt: skip


def config_of(called: str, **changes: Any) -> Any:
    """Return the config of an example, with fields changed."""
    family, data = NETWORKS[called]
    found = registry.find(family)
    assert found is not None
    return found.config.from_dict({**data, **changes})


def save_network(path: Path, called: str, info: dict[str, Any] | None = None, **more: Any) -> Any:
    """Save an example as a checkpoint; return its config. `more` is what `save_model_checkpoint` takes."""
    config = config_of(called)
    torch.manual_seed(0)
    model = create_model_from_config(config)
    for parameter in model.parameters():
        # Heads begin near nothing and deviations at it, where mistakes would be small.
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    ckptfmt.save_model_checkpoint(model, config, info or {}, path, **more)
    return config
