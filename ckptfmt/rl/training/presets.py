"""Settings as they were published, by name; `docs/training.md` says in what each differs from its source.

A preset is where the settings begin: those of a file and options win over it.
"""

from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.format.record import record

__all__ = ["PRESETS", "TECHNIQUES", "Preset", "preset_settings"]

TECHNIQUES: Mapping[str, bool] = {
    "double_dqn": True,
    "dueling_dqn": True,
    "distributional_dqn": True,
    "noisy_networks": True,
    "prioritized_replay": True,
    "n_step_learning": True,
}


@record
class Preset:
    """Settings, and where they were published."""

    source: str
    settings: Mapping[str, Any]


# Common to Hessel et al. 2018 and to Dopamine, which took it over from there; frames there are four to an action.
_RAINBOW_PACE: Mapping[str, Any] = {
    "total_steps": 50_000_000,
    "learning_starts": 20_000,
    "train_every": 4,
    "target_every": 8_000,
    "batch_size": 32,
    "replay_size": 1_000_000,
    "learning_rate": 6.25e-5,
    "adam_eps": 1.5e-4,
    "gamma": 0.99,
}
# Bellemare et al. 2017: 51 atoms over the returns of rewards clipped to -1 to 1; Hessel et al. 2018: three steps.
_DISTRIBUTION: Mapping[str, Any] = {"n_atoms": 51, "v_min": -10.0, "v_max": 10.0, "n_steps": 3}
# Hessel et al. 2018, table 1: ω 0.5, β from 0.4 to 1.
_PRIORITIES: Mapping[str, Any] = {"replay_alpha": 0.5, "replay_beta": 0.4}
# Mnih et al. 2015: up to 30 idle frames at the start, a life is an episode, the emulator does as it is told.
_OLD_GAMES: Mapping[str, Any] = {"sticky_actions": 0.0, "noop_max": 30, "terminal_on_life_loss": True}
# Machado et al. 2018, which Dopamine follows.
_STICKY_GAMES: Mapping[str, Any] = {"sticky_actions": 0.25, "noop_max": 0, "terminal_on_life_loss": False}
# In actions: Dopamine counts a million frames.
_DOPAMINE_EPSILON: Mapping[str, Any] = {"epsilon_end": 0.01, "epsilon_steps": 250_000, "eval_epsilon": 0.001}

PRESETS: Mapping[str, Preset] = {
    "rainbow": Preset(
        "Hessel et al. 2018, Rainbow: Combining Improvements in Deep Reinforcement Learning, table 1",
        {**TECHNIQUES, **_RAINBOW_PACE, **_DISTRIBUTION, **_PRIORITIES, **_OLD_GAMES, "noisy_std_init": 0.5},
    ),
    "data-efficient-rainbow": Preset(
        "van Hasselt, Hessel & Aslanides 2019, When to use parametric models in reinforcement learning?, appendix E",
        {
            **TECHNIQUES,
            **_DISTRIBUTION,
            **_PRIORITIES,
            **_OLD_GAMES,
            "encoder": "data-efficient",
            "hidden_size": 256,
            "n_steps": 20,
            "total_steps": 100_000,
            "learning_starts": 1_600,
            "train_every": 1,
            "target_every": 2_000,
            "batch_size": 32,
            "replay_size": 100_000,
            "learning_rate": 1e-4,
            "adam_eps": 1.5e-4,
            "noisy_std_init": 0.1,
            "eval_every": 10_000,
            "save_every": 10_000,
        },
    ),
    "dopamine": Preset(
        "Castro et al. 2018, Dopamine; dopamine/jax/agents/dqn/configs/dqn.gin",
        {**_RAINBOW_PACE, **_STICKY_GAMES, **_DOPAMINE_EPSILON},
    ),
    "dopamine-rainbow": Preset(
        "Castro et al. 2018, Dopamine; dopamine/agents/rainbow/configs/rainbow.gin",
        {
            **_RAINBOW_PACE,
            **_DISTRIBUTION,
            **_STICKY_GAMES,
            **_DOPAMINE_EPSILON,
            "distributional_dqn": True,
            "n_step_learning": True,
            "prioritized_replay": True,
            "replay_alpha": 0.5,
            "replay_beta": 0.5,
        },
    ),
    "cleanrl": Preset(
        "Huang et al. 2022, CleanRL; cleanrl/dqn_atari.py",
        {
            **_OLD_GAMES,
            "fire_reset": True,
            "total_steps": 10_000_000,
            "learning_starts": 80_000,
            "train_every": 4,
            "target_every": 1_000,
            "batch_size": 32,
            "replay_size": 1_000_000,
            "learning_rate": 1e-4,
            "adam_eps": 1e-8,
            "gamma": 0.99,
            "epsilon_end": 0.01,
            "epsilon_steps": 1_000_000,
            "eval_epsilon": 0.05,
        },
    ),
    "sb3-zoo": Preset(
        "Raffin 2020, RL Baselines3 Zoo; atari in hyperparams/dqn.yml",
        {
            **_OLD_GAMES,
            "fire_reset": True,
            "total_steps": 10_000_000,
            "learning_starts": 100_000,
            "train_every": 4,
            "target_every": 10_000,
            "batch_size": 32,
            "replay_size": 1_000_000,
            "learning_rate": 1e-4,
            "adam_eps": 1e-8,
            "gamma": 0.99,
            "epsilon_end": 0.1,
            "epsilon_steps": 1_000_000,
            "eval_epsilon": 0.0,
        },
    ),
}


def preset_settings(name: str | None) -> Mapping[str, Any]:
    """Return the settings of a preset, none where None is given; raise `CkptError` for another name."""
    if name is None:
        return {}
    if name not in PRESETS:
        fix = f"use {', '.join(PRESETS)}"
        raise CkptError(f"there is no preset {name}", where="training config", fix=fix, code="train.config")
    return PRESETS[name].settings
