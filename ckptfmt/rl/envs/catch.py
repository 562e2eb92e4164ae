"""A ball to catch: the smallest environment on which a network of images can be seen to learn."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

__all__ = ["Catch"]

# Twelve cells of three pixels make 36×36, the least that the convolutions of Mnih et al. 2015 take.
_CELLS = 12
_PIXELS = 3
_WIDTH = 3


class Catch(gymnasium.Env[NDArray[np.uint8], Any]):
    """A ball falls through 12 rows, drifting aside; a paddle of 3 cells at the bottom must be below it.

    Observations are 36×36 uint8. Actions are stay, left, right. An episode lasts 11 steps and returns 1 for a
    catch and -1 for a miss; a paddle that moves at random catches about one ball in four.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (_CELLS * _PIXELS, _CELLS * _PIXELS), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.ball = [0, 0]
        self.drift = 0
        self.paddle = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Drop a new ball from the top."""
        super().reset(seed=seed)
        self.ball = [0, int(self.np_random.integers(_CELLS))]
        self.drift = int(self.np_random.integers(-1, 2))
        self.paddle = int(self.np_random.integers(_CELLS - _WIDTH + 1))
        return self._image(), {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Move the paddle, then the ball, which bounces off the walls."""
        self.paddle = min(max(self.paddle + (0, -1, 1)[int(action)], 0), _CELLS - _WIDTH)
        if not 0 <= self.ball[1] + self.drift < _CELLS:
            self.drift = -self.drift
        self.ball = [self.ball[0] + 1, self.ball[1] + self.drift]
        over = self.ball[0] == _CELLS - 1
        caught = self.paddle <= self.ball[1] < self.paddle + _WIDTH
        return self._image(), (1.0 if caught else -1.0) if over else 0.0, over, False, {}

    def render(self) -> NDArray[np.uint8]:
        """Return the picture in three colours."""
        return np.repeat(self._image()[:, :, None], 3, axis=2)

    def _image(self) -> NDArray[np.uint8]:
        cells = np.zeros((_CELLS, _CELLS), dtype=np.uint8)
        # Half as bright as the ball, which is drawn over it.
        cells[-1, self.paddle : self.paddle + _WIDTH] = 128
        cells[self.ball[0], self.ball[1]] = 255
        return cells.repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)
