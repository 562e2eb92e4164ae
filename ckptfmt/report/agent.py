"""The agent at work: a trace as pictures and numbers, one step beside the other."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptfmt.errors import printable
from ckptfmt.look.trace import OUTPUT, Trace
from ckptfmt.report.draw import curve
from ckptfmt.report.png import png_uri
from ckptfmt.report.render import render

__all__ = ["STEPS", "agent_page", "agent_part"]

# Steps a page holds; a picture of an Atari screen takes about a kilobyte.
STEPS = 500
# Screens with a longer side are thinned out; that of an Atari game has 210 pixels.
_FRAME_SIDE = 320
# All 18 of Atari, and the joints of robots; more bars than that nobody reads.
_MOST_ACTIONS = 32
# Pictures of noise do not shrink; a page of them ends early.
_MOST_BYTES = 24 << 20
_MOST_ATOMS = 256
# What is one number an action, the best known first: the others are drawn only where these are not.
_BARS = ("q_values", "logits", "advantages", "imitation_logits", "action", "mean")
_ATOMS = ("atom_logits", "quantiles")
# A policy is read by how likely each action is.
_POLICY, _LIKELY = "logits", "probabilities"
# What is one number a step.
_PLAIN = ("value",)


def agent_page(trace: Trace, *, title: str, start: int = 0, nav: Sequence[tuple[str, str]] = (), up: str = "") -> str:
    """Return the page of a trace from step `start` on; `up` is the path of the same page, to go on from there."""
    return render("agent", {"title": title, "nav": nav, "agent": agent_part(trace, start=start, up=up)})


def agent_part(trace: Trace, *, start: int = 0, up: str = "") -> dict[str, Any]:
    """Return what the template of the agent shows: the steps from `start` on, as numbers and pictures made here."""
    start = min(start, trace.steps - 1)
    pictures = _Pictures()
    steps = _steps(trace, start, pictures)
    end = start + len(steps)
    values = _values(trace, start, end)
    told = trace.told
    return {
        "from": start,
        "to": end,
        "total": trace.steps,
        "next": f"{up}?from={end}" if up and end < trace.steps else "",
        "previous": f"{up}?from={max(0, start - STEPS)}" if up and start else "",
        "about": list(_about(trace)),
        "actions": _actions(trace),
        "bars": [_LIKELY if _is_policy(trace, name) else name for name in _bars(trace)],
        "plain": _plain(trace),
        "atoms": next((name for name in _ATOMS if name in trace.outputs), ""),
        "has_frames": trace.has("frames"),
        "has_seen": _is_picture(trace),
        "saliency": printable(told.saliency, 40) if trace.has("saliency") else "",
        "curve": curve([(number, value, 0.0) for number, value in enumerate(values, start)]),
        "curve_of": _curve_of(trace),
        "rows": [_words(step) for step in steps],
        # No browser draws more than 60 pictures a second, and less than one looks broken.
        "data": {"steps": steps, "pictures": pictures.uris, "fps": min(max(told.frames_per_second, 1.0), 60.0)},
    }


class _Pictures:
    """Pictures by number; one that is there already is not made twice."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self.bytes = 0
        self._known: dict[bytes, int] = {}

    def add(self, pixels: NDArray[Any]) -> int:
        """Return the number of a picture (height, width, 3)."""
        key = hashlib.sha256(pixels.tobytes() + bytes(pixels.shape[1])).digest()
        if key not in self._known:
            self._known[key] = len(self.uris)
            self.uris.append(png_uri(pixels))
            self.bytes += len(self.uris[-1])
        return self._known[key]


def _steps(trace: Trace, start: int, pictures: _Pictures) -> list[dict[str, Any]]:
    end = min(trace.steps, start + STEPS)
    outputs = {name: trace.each(OUTPUT + name, start, end) for name in (*_bars(trace), *_plain(trace))}
    actions = trace.each("actions", start, end)
    atoms = next((name for name in _ATOMS if name in trace.outputs), "")
    distributions = trace.each(OUTPUT + atoms, start, end) if atoms else iter(())
    returns, shown, steps = _returns(trace), _shown(trace, start, end, pictures), []
    for number, seen in zip(range(start, end), shown, strict=True):
        said = {name: next(rows) for name, rows in outputs.items()}
        step = {
            "step": number,
            "episode": int(trace.episodes[number]),
            "action": _action(next(actions)),
            "reward": _number(trace.rewards[number]),
            "return": _number(returns[number]),
            "bars": dict(_bar(trace, name, said[name]) for name in _bars(trace)),
            "said": {name: _number(said[name]) for name in _plain(trace)},
            **seen,
        }
        if atoms:
            step["atoms"] = _distribution(atoms, next(distributions), step["action"])
        steps.append(step)
        if pictures.bytes > _MOST_BYTES:
            break
    return steps


def _shown(trace: Trace, start: int, end: int, pictures: _Pictures) -> Iterator[dict[str, int]]:
    """Yield the pictures of each step: the screen, what the network sees of it, and where its choice hangs."""
    every, nothing = trace.told.saliency_every, repeat(None)
    frames = trace.each("frames", start, end) if trace.has("frames") else nothing
    observations = trace.each("observations", start, end) if _is_picture(trace) else nothing
    strength = None
    for number, frame, observation in zip(range(start, end), frames, observations, strict=False):
        shown = {}
        if frame is not None:
            shown["frame"] = pictures.add(_thinned(frame))
        if observation is not None:
            seen = _grey(observation)
            shown["seen"] = pictures.add(seen)
            if trace.has("saliency"):
                if strength is None or number % every == 0:
                    (strength,) = trace.rows("saliency", number // every, number // every + 1)
                shown["where"] = pictures.add(_lit(seen, strength))
        yield shown


def _thinned(pixels: NDArray[Any]) -> NDArray[Any]:
    each = math.ceil(max(pixels.shape[:2]) / _FRAME_SIDE)
    return np.ascontiguousarray(pixels[::each, ::each])


def _is_picture(trace: Trace) -> bool:
    """Return whether observations are channels, height, width of pixels."""
    if not trace.has("observations"):
        return False
    shape = trace.shape("observations")
    # Steps, channels, height, width; what has fewer than eight pixels a side is a table of features.
    return len(shape) == 4 and min(shape[2:]) >= 8 and trace.rows("observations", 0, 1).dtype == np.uint8


def _grey(observation: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the newest frame of a stack as grey pixels."""
    newest = _thinned(observation[-1])
    # Grey is three equal colours.
    return np.repeat(newest[:, :, None], 3, axis=2)


def _lit(seen: NDArray[np.uint8], strength: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the picture dimmed, and red where the map is strong."""
    rows = np.arange(seen.shape[0]) * strength.shape[0] // seen.shape[0]
    columns = np.arange(seen.shape[1]) * strength.shape[1] // seen.shape[1]
    # Half as bright, so that the red of the map stands out of white too.
    lit = seen // 2
    lit[:, :, 0] = np.maximum(lit[:, :, 0], strength[rows][:, columns])
    return lit


def _returns(trace: Trace) -> NDArray[np.float64]:
    """Return the sum of the rewards of the episode up to and with each step."""
    totals = np.cumsum(np.nan_to_num(trace.rewards.astype(np.float64)))
    begins = np.flatnonzero(np.diff(trace.episodes, prepend=trace.episodes[:1] - 1))
    before = np.where(begins > 0, totals[begins - 1], 0.0)
    returns: NDArray[np.float64] = totals - np.repeat(before, np.diff(begins, append=trace.steps))
    return returns


def _distribution(name: str, values: NDArray[Any], action: Any) -> list[float | None]:
    """Return what is drawn of the distribution of returns of the action taken: probabilities, or quantiles in order."""
    if values.ndim != 2 or not isinstance(action, int) or action >= len(values):
        return []
    of_action = values[action].astype(np.float64)
    of_action = _softmax(of_action) if name == "atom_logits" else np.sort(of_action)
    return _numbers(of_action, _MOST_ATOMS)


def _action(action: NDArray[Any]) -> int | list[float | None]:
    return int(action) if action.ndim == 0 else _numbers(action, _MOST_ACTIONS)


def _actions(trace: Trace) -> list[str]:
    """Return the name of each action that a page has room for."""
    names = [printable(name, 40) for name in trace.told.actions]
    widest = max((trace.shape(OUTPUT + name)[1] for name in _bars(trace)), default=len(names))
    return (names + [str(number) for number in range(len(names), widest)])[:_MOST_ACTIONS]


def _bars(trace: Trace) -> list[str]:
    """Return the outputs that are one number an action or a dimension."""
    return [name for name in _BARS if name in trace.outputs and len(trace.shape(OUTPUT + name)) == 2]


def _is_policy(trace: Trace, name: str) -> bool:
    """Return whether an output is the logits of one choice a step; those of several are no one distribution."""
    return name == _POLICY and len(trace.shape("actions")) == 1


def _bar(trace: Trace, name: str, values: NDArray[Any]) -> tuple[str, list[float | None]]:
    """Return what the bars of an output are called, and their lengths."""
    if not _is_policy(trace, name):
        return name, _numbers(values, _MOST_ACTIONS)
    return _LIKELY, _numbers(_softmax(values.astype(np.float64)), _MOST_ACTIONS)


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(values - np.max(values))
    shares: NDArray[np.float64] = shifted / shifted.sum()
    return shares


def _plain(trace: Trace) -> list[str]:
    """Return the outputs that are one number a step."""
    return [name for name in _PLAIN if name in trace.outputs and len(trace.shape(OUTPUT + name)) == 1]


def _curve_of(trace: Trace) -> str:
    """Return which output is drawn over the steps."""
    return next((name for name in ("q_values", "value") if name in trace.outputs), "")


def _values(trace: Trace, start: int, end: int) -> list[float]:
    if not (name := _curve_of(trace)):
        return []
    return [float(np.nan_to_num(row.max())) for row in trace.each(OUTPUT + name, start, end)]


def _about(trace: Trace) -> Iterator[tuple[str, str]]:
    told = trace.told
    yield "agent", printable(told.name, 120)
    yield "network", printable(told.network, 120)
    yield "environment", printable(told.environment.get("id", ""), 120)
    yield "steps", f"{trace.steps:,} in {len(set(trace.episodes.tolist())):,} episodes"
    yield "weights", printable(told.content_digest, 120)
    yield "recorded", printable(told.created_at, 40)


def _words(step: Mapping[str, Any]) -> dict[str, Any]:
    first: list[float | None] = next(iter(step["bars"].values()), [])
    known = [value for value in first if value is not None]
    return {
        **{name: step[name] for name in ("step", "episode", "action", "reward", "return")},
        "most": max(known, default=None),
    }


def _number(value: Any) -> float | None:
    number = float(value)
    # More digits than a page shows would only make it larger; JSON has no NaN.
    return float(f"{number:.5g}") if math.isfinite(number) else None


def _numbers(values: NDArray[Any], most: int) -> list[float | None]:
    return [_number(value) for value in values.reshape(-1)[:most]]
