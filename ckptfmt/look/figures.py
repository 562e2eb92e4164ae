"""Figures in what training code tells: how far it came, and how well it played.

The fields are free-form, so that a stranger may have put anything there: what is no finite number says nothing.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["STEP_NAMES", "Point", "evaluation_points", "finite", "training_step"]

# Names under which trainers count their steps, the plainest first.
STEP_NAMES = ("step", "steps", "frame_idx", "global_step", "num_timesteps", "frames")

# Step, mean return and deviation of one evaluation.
Point = tuple[float, float, float]


def finite(value: Any) -> float | None:
    """Return `value` as a float where it is a finite number that one can hold, else None."""
    # True is a number in Python, and "it played at all" is no return of 1.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def training_step(training_info: Mapping[str, Any]) -> float | None:
    """Return how many steps a training had taken, None where it does not say."""
    told = (finite(training_info.get(name)) for name in STEP_NAMES)
    return next((step for step in told if step is not None), None)


def evaluation_points(evaluations: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Return a point for each evaluation that tells a mean return; without steps they are counted."""
    points = []
    for number, entry in enumerate(evaluations):
        told = entry["return"] if isinstance(entry.get("return"), Mapping) else entry
        mean, spread = finite(told.get("mean")), finite(told.get("std")) or 0.0
        step = finite(entry.get("step", entry.get("frames")))
        if mean is not None:
            points.append((number if step is None else step, mean, spread))
    return points
