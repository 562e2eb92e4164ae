"""What Stable-Baselines3, CleanRL and ALE's own vector environment do to Atari games, frame for frame.

The first two share their wrappers, which are told by their names, so that nothing needs that package. What they
do is done again here: an agent must be shown the frames that it was trained on.
"""

from collections.abc import Callable
from typing import Any

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

try:
    import ale_py
except ImportError:  # games of other kinds need no emulator
    ale_py = None  # type: ignore[assignment]

__all__ = [
    "EpisodicLife",
    "FireFirst",
    "FireReset",
    "NoopReset",
    "PoolAndSkip",
    "Warp",
    "describe_baselines",
    "describe_named",
    "has_fire",
    "register_games",
]

# The first three actions of a game, as OpenAI Baselines' wrappers press them; the third is up where a game has it.
_NOOP, _FIRE, _UP = 0, 1, 2

Wrapper = gymnasium.Wrapper[Any, Any, Any, Any]
Step = tuple[Any, float, bool, bool, dict[str, Any]]


def register_games() -> None:
    """Make the games known to gymnasium, where the emulator is installed; it says nothing but errors then."""
    if ale_py is not None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        gymnasium.register_envs(ale_py)


def has_fire(env: gymnasium.Env[Any, Any]) -> bool:
    """Return whether the second action of a game is the button and a third one follows."""
    meanings: list[str] = getattr(env.unwrapped, "get_action_meanings", list)()
    return len(meanings) > 2 and meanings[_FIRE] == "FIRE"


class NoopReset(Wrapper):
    """Begin an episode with 1 to `noop_max` frames in which nothing is pressed."""

    def __init__(self, env: Any, noop_max: int) -> None:
        super().__init__(env)
        self.noop_max = noop_max

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, then wait."""
        observation, info = self.env.reset(**options)
        # From 1 and not from 0, as the wrapper of OpenAI Baselines does, from which both have it.
        for _ in range(self.unwrapped.np_random.integers(1, self.noop_max + 1)):
            observation, _, terminated, truncated, info = self.env.step(_NOOP)
            if terminated or truncated:
                observation, info = self.env.reset(**options)
        return observation, info


class PoolAndSkip(Wrapper):
    """Repeat an action over `skip` frames and show the brighter of the last two, each colour for itself."""

    def __init__(self, env: Any, skip: int) -> None:
        super().__init__(env)
        self.skip = skip
        self.last = np.zeros((2, *(env.observation_space.shape or ())), dtype=env.observation_space.dtype)

    def step(self, action: Any) -> Step:
        """Take the steps; a game that ends among them leaves the frames of before in place."""
        total, terminated, truncated = 0.0, False, False
        info: dict[str, Any] = {}
        for number in range(self.skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            # Sprites flicker: the console draws some of them in every other frame only.
            if number >= self.skip - 2:
                self.last[number - self.skip + 2] = observation
            if terminated or truncated:
                break
        return self.last.max(axis=0), total, terminated, truncated, info


class EpisodicLife(Wrapper):
    """End an episode where a life is lost, and let the next one go on in the same game (Mnih et al. 2015).

    `game_over` says whether the game ended as well; only then does `reset` begin a new one. `games` counts them.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.lives = self.games = 0
        self.game_over = True

    def step(self, action: Any) -> Step:
        """Take a step; some games show no life at all for a few frames before they end."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.game_over = terminated or truncated
        lives = self._count()
        lost, self.lives = 0 < lives < self.lives, lives
        return observation, float(reward), terminated or lost, truncated, info

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin a new game, or go on with one more step in which nothing is pressed; a seed begins a new one."""
        if not self.game_over and options.get("seed") is None:
            observation, _, terminated, truncated, info = self.env.step(_NOOP)
            self.game_over = terminated or truncated
        if self.game_over or options.get("seed") is not None:
            observation, info = self.env.reset(**options)
            self.games += 1
        self.lives = self._count()
        self.game_over = False
        return observation, info

    def _count(self) -> int:
        return int(self.unwrapped.ale.lives())  # type: ignore[attr-defined]


class FireReset(Wrapper):
    """Press fire, then up, at the start of an episode: some games stand still until then."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, press both, reset again where that ended the episode."""
        observation, info = self.env.reset(**options)
        for action in (_FIRE, _UP):
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                self.env.reset(**options)
        return observation, info


class FireFirst(Wrapper):
    """Press fire for one frame, then nothing for fewer than `noop_max` frames, as ALE's vector environment does."""

    def __init__(self, env: Any, noop_max: int, fire: bool) -> None:
        super().__init__(env)
        self.noop_max, self.fire = noop_max, fire

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, press the button, wait."""
        observation, info = self.env.reset(**options)
        waits = int(self.unwrapped.np_random.integers(self.noop_max)) if self.noop_max else 0
        # The press counts among the frames that are waited.
        for action in [_FIRE] * self.fire + [_NOOP] * (waits - self.fire):
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                observation, info = self.env.reset(**options)
        return observation, info


class Warp(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Turn colours into grey as OpenCV does, then shrink to (width, height)."""

    def __init__(self, env: Any, width: int, height: int) -> None:
        super().__init__(env)
        self.size = (width, height)
        self.observation_space = gymnasium.spaces.Box(0, 255, (height, width), np.uint8)

    def observation(self, observation: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the smaller picture (height, width)."""
        grey = cv2.cvtColor(observation, cv2.COLOR_RGB2GRAY)
        return cv2.resize(grey, self.size, interpolation=cv2.INTER_AREA)


def describe_baselines(layer: Any) -> dict[str, Any] | None:
    """Return what a wrapper of those means for the description of its environment, None for any other."""
    return describe_named(type(layer).__module__, type(layer).__name__, lambda name: getattr(layer, name))


def describe_named(module: str, kind: str, read: Callable[[str], Any]) -> dict[str, Any] | None:
    """Return the same of a wrapper by its class; `read` gives attributes of one that lives in another process.

    `ClipRewardEnv` means nothing: the description is of what is seen and played, not of what is learnt from.
    """
    if module.rpartition(".")[2] not in ("atari_wrappers", "monitor"):
        return None
    match kind:
        case "AtariWrapper" | "ClipRewardEnv" | "Monitor":
            return {}
        case "StickyActionEnv":
            return {"sticky_actions": float(read("action_repeat_probability"))}
        case "NoopResetEnv":
            return {"noop_max": int(read("noop_max"))}
        case "MaxAndSkipEnv":
            return {"frame_skip": int(read("_skip"))}
        case "EpisodicLifeEnv":
            return {"terminal_on_life_loss": True}
        case "FireResetEnv":
            return {"fire_reset": True}
        case "WarpFrame":
            width, height = int(read("width")), int(read("height"))
            size = width if width == height else (width, height)
            return {"grayscale": True, "screen_size": size, "preprocessing": "stable-baselines3"}
    return None
