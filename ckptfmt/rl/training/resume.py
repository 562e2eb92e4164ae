"""What new settings mean for a training that is resumed: the same course, another one, or none at all."""

from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["FREE", "REFUSED", "changed_settings", "stored_settings"]

# These say how long is trained and what is written down of it, or have had their effect: the same is learnt.
FREE = frozenset({
    "total_steps", "learning_starts", "env_processes", "log_every", "save_every", "keep", "save_replay", "compress",
    "tensorboard",
})  # fmt: skip

_GAME = "the games at hand and the frames in the replay buffer were made with it"
_NETWORK = "the network in the checkpoint was made with it"
_REPLAY = "the replay buffer was filled with it"
_BEGIN = "it decides how a training begins, and this one has begun"
# Why a resume cannot take these over. All that is neither here nor in FREE is applied.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("env", "frame_skip", "frame_stack", "screen_size", "grayscale", "noop_max"), _GAME),
    **dict.fromkeys(("sticky_actions", "terminal_on_life_loss", "max_episode_steps", "num_envs"), _GAME),
    "fire_reset": _GAME,
    **dict.fromkeys(("dueling_dqn", "distributional_dqn", "noisy_networks", "encoder", "hidden_size"), _NETWORK),
    **dict.fromkeys(("n_atoms", "v_min", "v_max", "hidden_layers", "n_quantiles"), _NETWORK),
    **dict.fromkeys(("quantile_dqn", "implicit_quantile_dqn"), _NETWORK),
    **dict.fromkeys(("prioritized_replay", "replay_alpha", "n_step_learning", "n_steps", "clip_rewards"), _REPLAY),
    **dict.fromkeys(("noisy_std_init", "seed"), _BEGIN),
}


def stored_settings(checkpoint: Checkpoint) -> TrainConfig:
    """Return the settings that a checkpoint of this trainer was trained with; raise `CkptError` for any other."""
    settings = checkpoint.training_info.get("training_config")
    if not isinstance(settings, dict) or "env" not in settings:
        raise CkptError("was not saved by this trainer", where=checkpoint.path, code="resume.settings")
    return TrainConfig.from_dict(settings)


def changed_settings(before: TrainConfig, after: TrainConfig, where: str) -> dict[str, list[Any]]:
    """Return {setting: [before, after]} of what makes the resumed training another one than that of `before`.

    Raises `CkptError` that names every setting which a resume cannot change, and why.
    """
    old, new = before.to_dict(), after.to_dict()
    changed = {name: [old[name], new[name]] for name in old if old[name] != new[name]}
    if refused := [name for name in changed if name in REFUSED]:
        reasons = "; ".join(f"{name} stays {changed[name][0]!r}, {REFUSED[name]}" for name in refused)
        raise CkptError(
            f"these settings cannot change: {reasons}" if len(refused) > 1 else reasons,
            where=where,
            fix="leave it out, or start a new training",
            code="resume.setting",
        )
    # The name of a device may change and mean the same one, so the device itself is compared elsewhere.
    return {name: pair for name, pair in changed.items() if name not in FREE | {"device"}}
