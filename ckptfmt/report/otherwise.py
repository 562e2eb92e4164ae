"""What two networks do with the same frames, as a section of a page."""

import math
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.look.trace import Trace
from ckptfmt.report.draw import curve
from ckptfmt.report.png import png_uri

__all__ = ["otherwise_part"]

# Screens a page shows of the steps at which the two choose otherwise.
_SHOWN = 8


def otherwise_part(behaviour: Mapping[str, Any], trace: Trace) -> dict[str, Any]:
    """Return what the template shows of a comparison made by `ckptfmt.rl.behaviour` on the frames of `trace`."""
    shown = behaviour["choices"][: _SHOWN if trace.has("frames") else 0]
    return {
        **behaviour,
        "game": printable(trace.told.environment.get("id", "a game"), 80),
        "screens": [
            {**choice, "uri": png_uri(trace.rows("frames", choice["step"], choice["step"] + 1)[0])} for choice in shown
        ],
        "curve": curve(_points(behaviour["values_b"]), _points(behaviour["values_a"])),
    }


def _points(values: list[float]) -> list[tuple[float, float, float]]:
    return [(float(step), value, 0.0) for step, value in enumerate(values) if math.isfinite(value)]
