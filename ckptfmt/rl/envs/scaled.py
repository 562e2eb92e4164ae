"""Observations divided by a number, for networks that do not divide them themselves."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers

__all__ = ["ScaledObservation"]


class ScaledObservation(wrappers.TransformObservation[Any, Any, Any]):
    """Divides observations by `scale`, as float32."""

    def __init__(self, env: gymnasium.Env[Any, Any], scale: float) -> None:
        self.scale = scale
        space = env.observation_space
        assert isinstance(space, gymnasium.spaces.Box)
        low, high = float(space.low.min()) / scale, float(space.high.max()) / scale
        scaled = gymnasium.spaces.Box(low, high, space.shape, np.float32)
        super().__init__(env, lambda image: np.asarray(image, np.float32) / np.float32(scale), scaled)
