"""The Atari wrappers of Stable-Baselines3, which CleanRL uses too: what they do, and the one that gymnasium lacks.

They are told by their names, so that nothing needs that package.
"""

from typing import Any

import gymnasium

__all__ = ["FireReset", "describe_baselines"]

_FIRE, _UP = 1, 2


class FireReset(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Press fire, then up, at the start of an episode: some games stand still until then."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, press both, reset again where that ended the episode."""
        observation, info = self.env.reset(**options)
        for action in (_FIRE, _UP):
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                observation, info = self.env.reset(**options)
        return observation, info


def describe_baselines(layer: Any) -> dict[str, Any] | None:
    """Return what a wrapper of those means for the description of its environment, None for any other.

    `ClipRewardEnv` means nothing: the description is of what is seen and played, not of what is learnt from.
    """
    package = type(layer).__module__.rpartition(".")[2]
    if package not in ("atari_wrappers", "monitor"):
        return None
    match type(layer).__name__:
        case "AtariWrapper" | "ClipRewardEnv" | "Monitor":
            return {}
        case "StickyActionEnv":
            return {"sticky_actions": float(layer.action_repeat_probability)}
        case "NoopResetEnv":
            return {"noop_max": int(layer.noop_max)}
        case "MaxAndSkipEnv":
            return {"frame_skip": int(layer._skip)}
        case "EpisodicLifeEnv":
            return {"terminal_on_life_loss": True}
        case "FireResetEnv":
            return {"fire_reset": True}
        case "WarpFrame":
            width, height = int(layer.width), int(layer.height)
            return {"grayscale": True, "screen_size": width if width == height else (width, height)}
    return None
