"""A small trace made of numbers, for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ckptfmt.look.trace import Told, trace_bytes

DIGEST = "sha256:" + "ab" * 32


def arrays(steps: int = 12, actions: int = 3) -> dict[str, np.ndarray]:
    """Return the arrays of two episodes of frames of 24 by 20, seen as two channels of 16 by 16."""
    random = np.random.default_rng(0)
    return {
        "frames": random.integers(0, 255, (steps, 24, 20, 3), dtype=np.uint8),
        "observations": random.integers(0, 255, (steps, 2, 16, 16), dtype=np.uint8),
        "actions": random.integers(0, actions, steps),
        "rewards": np.arange(steps, dtype=np.float32),
        "episodes": np.arange(steps) // (steps // 2),
        "outputs.q_values": random.normal(size=(steps, actions)).astype(np.float32),
        "outputs.atom_logits": random.normal(size=(steps, actions, 5)).astype(np.float32),
        "outputs.value": random.normal(size=steps).astype(np.float32),
        "saliency": random.integers(0, 255, (-(-steps // 4), 8, 8), dtype=np.uint8),
    }


def told(**given: Any) -> Told:
    """Return what such a trace tells of itself."""
    plain = {
        "name": "pong-042",
        "content_digest": DIGEST,
        "network": "c51_dqn",
        "environment": {"id": "ALE/Pong-v5"},
        "actions": ("NOOP", "UP", "DOWN"),
        "saliency": "gradient",
        "saliency_every": 4,
        "created_at": "2026-11-28T05:00:00+00:00",
    }
    return Told(**{**plain, **given})


def write(path: Path, held: Mapping[str, np.ndarray] | None = None, **given: Any) -> Path:
    """Write a trace."""
    path.write_bytes(b"".join(trace_bytes(told(**given), arrays() if held is None else held)))
    return path
