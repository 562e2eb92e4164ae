"""Load a zip with Stable-Baselines3 or sb3-contrib, and compare what its agent gives."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ckptfmt.rl.export.compare import compare_outputs, draw_seen
from ckptfmt.share.export.sb3.algorithms import ALGORITHMS
from ckptfmt.share.export.target import Outline
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["check_sb3"]

# How many steps a recurrent agent is followed: enough for what it remembers to count.
_STEPS = 8


def check_sb3(checkpoint: Checkpoint, path: str, outline: Outline) -> str:
    """Load the zip with the class of its algorithm and compare what its networks give."""
    # The guest is imported where it is asked for: most who export to the other targets do not have it.
    kind: Any = getattr(import_module(ALGORITHMS[outline.algorithm].package), outline.algorithm)
    # Read from an open file, since SB3 adds `.zip` to names that have another ending.
    with open(path, "rb") as file:
        policy = kind.load(file, device="cpu").policy
    policy.set_training_mode(False)
    seen = draw_seen(checkpoint.config)
    if outline.algorithm == "RecurrentPPO":
        # As a recurrent network sees them: some steps of some episodes.
        seen = seen.view(_STEPS, -1, *seen.shape[1:])
    with torch.no_grad():
        theirs = _given(outline.algorithm, policy, seen)
    given = {"action": theirs["action"]} if "critics" in theirs or "critic_quantiles" in theirs else {}
    return compare_outputs(checkpoint, seen, theirs, path, **given)


def _given(algorithm: str, policy: Any, seen: Tensor) -> Mapping[str, Tensor]:
    """Return what the networks of a policy give, by our names."""
    match algorithm:
        case "DQN":
            return {"q_values": policy.q_net(seen)}
        case "QRDQN":
            quantiles = policy.quantile_net(seen).transpose(1, 2)
            return {"q_values": quantiles.mean(2), "quantiles": quantiles}
        case "PPO" | "A2C" | "TRPO":
            return _actor_critic(policy, seen)
        case "RecurrentPPO":
            return _remembering(policy, seen)
        case "SAC" | "TQC":
            return _squashed(policy, seen)
    action = policy.actor(seen)
    return {"action": action, "critics": torch.stack(policy.critic(seen, action)).squeeze(-1)}


def _remembering(policy: Any, seen: Tensor) -> Mapping[str, Tensor]:
    """Return what a recurrent policy gives for (time, batch, …), from the beginning of an episode on."""
    steps, count = seen.shape[:2]
    # It takes episodes one behind another, each with its steps in a row.
    rows = seen.transpose(0, 1).flatten(0, 1)
    layers, _, size = policy.lstm_hidden_state_shape
    begin = (torch.zeros(layers, count, size), torch.zeros(layers, count, size))
    starts = torch.zeros(len(rows))
    heads: list[Tensor] = []
    # A distribution keeps its logits without what they have in common, so that those of the layer are taken.
    policy.action_net.register_forward_hook(lambda layer, given, made: heads.append(made))
    drawn = policy.get_distribution(rows, begin, starts)[0].distribution
    real = {"mean": heads[0], "log_std": drawn.stddev.log()} if hasattr(policy, "log_std") else {"logits": heads[0]}
    found = {**real, "value": policy.predict_values(rows, begin, starts).squeeze(-1)}
    return {name: tensor.view(count, steps, *tensor.shape[1:]).transpose(0, 1) for name, tensor in found.items()}


def _actor_critic(policy: Any, seen: Tensor) -> Mapping[str, Tensor]:
    features = policy.extract_features(seen)
    one, other = (features, features) if policy.share_features_extractor else features
    head = policy.action_net(policy.mlp_extractor.forward_actor(one))
    value = policy.value_net(policy.mlp_extractor.forward_critic(other)).squeeze(-1)
    if not hasattr(policy, "log_std"):
        return {"logits": head, "value": value}
    return {"mean": head, "log_std": policy.get_distribution(seen).distribution.stddev.log(), "value": value}


def _squashed(policy: Any, seen: Tensor) -> Mapping[str, Tensor]:
    mean, deviation, rest = policy.actor.get_action_dist_params(seen)
    spread = policy.actor.action_dist.proba_distribution(mean, deviation, **rest).distribution.stddev.log()
    action = policy.actor(seen, deterministic=True)
    found = {"mean": mean, "log_std": spread, "action": action}
    values = policy.critic(seen, action)
    if isinstance(values, Tensor):
        return {**found, "critic_quantiles": values.transpose(0, 1)}
    return {**found, "critics": torch.stack(values).squeeze(-1)}
