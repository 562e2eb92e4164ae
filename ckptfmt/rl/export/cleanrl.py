"""Load a file into the networks of CleanRL's scripts, and compare what they give."""

from typing import Any

import torch
from torch import Tensor, nn

from ckptfmt.rl.export.compare import compare_outputs, draw_actions, draw_seen, raw
from ckptfmt.share.export.target import Outline
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["check_cleanrl"]


def check_cleanrl(checkpoint: Checkpoint, path: str, outline: Outline) -> str:
    """Load the file into networks that are those of CleanRL's classes, layer for layer, and compare what they give."""
    loaded = torch.load(path, weights_only=True, map_location="cpu")
    config: Any = checkpoint.config
    seen = draw_seen(config)
    with torch.no_grad():
        if isinstance(loaded, tuple):
            action = draw_actions(config)
            theirs = _off_policy(config, loaded, raw(checkpoint, seen), action)
            return compare_outputs(checkpoint, seen, theirs, path, action=action)
        if "critic.weight" in loaded or "critic.0.weight" in loaded:
            return compare_outputs(checkpoint, seen, _on_policy(config, loaded, seen), path)
        atoms = getattr(config, "n_atoms", None)
        network = _q_network(config, atoms or 1)
        network.load_state_dict(loaded["model_weights"] if atoms else loaded)
        scores = network.network(seen / 255.0 if seen.dim() == 4 else seen)
        if atoms:
            scores = (scores.view(len(seen), config.n_action, -1).softmax(dim=2) * network.atoms).sum(2)
        return compare_outputs(checkpoint, seen, {"q_values": scores}, path)


def _nature() -> list[nn.Module]:
    return [
        # The network of Mnih et al. 2015 as CleanRL's Atari scripts write it.
        nn.Conv2d(4, 32, 8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=1), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(),
    ]  # fmt: skip


def _q_network(config: Any, atoms: int) -> Any:
    """Return the QNetwork of `dqn_atari.py`, `c51_atari.py`, `dqn.py` or `c51.py`."""
    network: Any = nn.Module()
    (features,) = config.input_shape if len(config.input_shape) == 1 else (0,)
    # The sizes that CleanRL's `dqn.py` and `c51.py` have in their source, as those below have 64 and 256.
    rows = [nn.Linear(features, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()] if features else _nature()
    network.network = nn.Sequential(*rows, nn.Linear(84 if features else 512, config.n_action * atoms))
    if atoms > 1:
        network.register_buffer("atoms", torch.zeros(atoms))
    return network


def _on_policy(config: Any, loaded: dict[str, Tensor], seen: Tensor) -> dict[str, Tensor]:
    """Return what the Agent of `ppo.py`, `ppo_continuous_action.py` or `ppo_atari.py` gives."""
    agent: Any = nn.Module()
    real = config.policy == "gaussian"
    name, count = ("actor_mean", config.action_dim) if real else ("actor", config.n_action)
    if seen.dim() == 4:
        agent.network = nn.Sequential(*_nature())
        agent.actor, agent.critic = nn.Linear(512, count), nn.Linear(512, 1)
        agent.load_state_dict(loaded)
        hidden = agent.network(seen / 255.0)
        return {"logits": agent.actor(hidden), "value": agent.critic(hidden).squeeze(-1)}
    agent.add_module(name, _tanh(seen.shape[1], count))
    agent.critic = _tanh(seen.shape[1], 1)
    if real:
        agent.actor_logstd = nn.Parameter(torch.zeros(1, count))
    agent.load_state_dict(loaded)
    head, value = getattr(agent, name)(seen), agent.critic(seen).squeeze(-1)
    return {"mean": head, "log_std": agent.actor_logstd.expand_as(head), "value": value} if real else {
        "logits": head, "value": value,
    }  # fmt: skip


def _tanh(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


def _off_policy(config: Any, loaded: tuple[Any, ...], seen: Tensor, action: Tensor) -> dict[str, Tensor]:
    """Return what the Actor and QNetworks of `td3_continuous_action.py` or `ddpg_continuous_action.py` give."""
    actor, *critics = (_three(config, i) for i in range(len(loaded)))
    for module, state in zip((actor, *critics), loaded, strict=True):
        module.load_state_dict(state)
    squashed = _through(actor, seen, "fc_mu").tanh() * actor.action_scale + actor.action_bias
    values = [_through(critic, torch.cat([seen, action], 1), "fc3").squeeze(-1) for critic in critics]
    return {"action": squashed, "critics": torch.stack(values)}


def _three(config: Any, number: int) -> Any:
    """Return the Actor, which comes first, or a QNetwork."""
    (features,), count = config.input_shape, config.action_dim
    module: Any = nn.Module()
    module.fc1, module.fc2 = nn.Linear(features + (count if number else 0), 256), nn.Linear(256, 256)
    module.add_module("fc3" if number else "fc_mu", nn.Linear(256, 1 if number else count))
    if not number:
        module.register_buffer("action_scale", torch.ones(count))
        module.register_buffer("action_bias", torch.zeros(count))
    return module


def _through(module: Any, x: Tensor, head: str) -> Any:
    return getattr(module, head)(module.fc2(module.fc1(x).relu()).relu())
