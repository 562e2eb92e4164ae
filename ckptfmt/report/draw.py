"""Pictures as SVG, made of numbers alone: no text of a checkpoint gets into one.

Lines and areas take their colours from classes of the page, so that a picture is readable in the light and in
the dark. Each picture has its numbers beside it as text; here is only what eyes see.
"""

import math
from collections.abc import Sequence

from markupsafe import Markup

__all__ = ["curve", "descent", "histogram", "spectrum", "strip"]

# Pixels: three for each bin of a histogram; a curve is as wide as a line of text.
_WIDTH, _HEIGHT = 144, 36
_CURVE_WIDTH, _CURVE_HEIGHT = 640, 200
_MARGIN = 8
# Checkpoints of one chain, side by side.
_MOST_NODES = 16
# More evaluations than this lie so close that their dots hide the line.
_MOST_DOTS = 80


def histogram(counts: Sequence[int], values: Sequence[float], reach: float, over: Sequence[int] = ()) -> Markup:
    """Draw a histogram with log counts; few values as dots; `over` is another one as a line upon it."""
    if not counts or not math.isfinite(reach) or reach <= 0:
        return Markup("")
    if values:
        return _svg(_WIDTH, _HEIGHT, _axis() + "".join(_dot(value / reach) for value in values))
    heights = [math.log1p(count) for count in counts]
    others = [math.log1p(count) for count in over]
    # Not zero, by which heights would be divided where nothing was counted.
    most = max([*heights, *others, 1e-9])
    area = _points(heights, most)
    body = f'<polygon class="fill" points="0,{_HEIGHT} {area} {_WIDTH},{_HEIGHT}"/>'
    if others:
        body += f'<polyline class="line" points="{_points(others, most)}"/>'
    return _svg(_WIDTH, _HEIGHT, _axis() + body)


def curve(
    points: Sequence[tuple[float, float, float]],
    others: Sequence[tuple[float, float, float]] = (),
    marks: Sequence[float] = (),
) -> Markup:
    """Draw (step, mean, deviation) as dots, a line and a band; `others` is a second curve on the same axes.

    `marks` are steps at which something lies, as strokes on the axis of steps.
    """
    everything = [*points, *others]
    if not everything:
        return Markup("")
    steps = [*(step for step, _, _ in everything), *marks]
    low = min(mean - spread for _, mean, spread in everything)
    high = max(mean + spread for _, mean, spread in everything)
    scale = _Scale(min(steps), max(steps), low, high)
    body = _one_curve(points, scale, "a") + _one_curve(others, scale, "b")
    body += f'<text x="4" y="14">{high:.4g}</text><text x="4" y="{_CURVE_HEIGHT - 4}">{low:.4g}</text>'
    for step in marks:
        x = scale(step, low).partition(",")[0]
        body += f'<line class="mark" x1="{x}" x2="{x}" y1="{_CURVE_HEIGHT - _MARGIN}" y2="{_CURVE_HEIGHT}"/>'
    return _svg(_CURVE_WIDTH, _CURVE_HEIGHT, body)


def descent(found: Sequence[bool]) -> Markup:
    """Draw a chain of checkpoints, the oldest on the left, numbered as in a list that begins with the youngest.

    One that was not found is hollow. A chain longer than a line has room for begins with the oldest that fits.
    """
    shown = list(enumerate(found, 1))[:_MOST_NODES][::-1]
    step = _CURVE_WIDTH / _MOST_NODES
    nodes = []
    for place, (number, there) in enumerate(shown):
        x = (place + 0.5) * step
        if place:
            # From the circle on the left to the next one, two pixels clear of both, with a head of four.
            nodes.append(f'<path class="edge" d="M{x - step + 9:.1f} 14H{x - 11:.1f}m-4-4l4 4-4 4"/>')
        nodes.append(f'<circle class="node{"" if there else " missing"}" cx="{x:.1f}" cy="14" r="7"/>')
        nodes.append(f'<text x="{x:.1f}" y="36" text-anchor="middle">{number}</text>')
    # Room for circles of a radius of 7 and a line of text below them.
    return _svg(_CURVE_WIDTH, 40, "".join(nodes))


def spectrum(values: Sequence[float], others: Sequence[float] = ()) -> Markup:
    """Draw singular values in falling order on a logarithmic axis; `others` is a second spectrum on the same axes."""
    both = [[math.log10(value) for value in one if value > 0] for one in (values, others)]
    everything = [value for one in both for value in one]
    if not everything:
        return Markup("")
    # Below a millionth of the largest a float32 holds nothing but rounding.
    high = max(everything)
    scale = _Scale(0, max(map(len, both)) - 1, max(min(everything), high - 6), high)
    lines = "".join(
        f'<polyline class="line {which}" points="{" ".join(scale(i, max(v, high - 6)) for i, v in enumerate(one))}"/>'
        for one, which in zip(both, "ab", strict=True)
        if one
    )
    return _svg(_CURVE_WIDTH, _CURVE_HEIGHT, lines)


def strip(changes: Sequence[float], most: float) -> Markup:
    """Draw one cell for each output unit, darker the more it changed; `most` is the scale of the whole page."""
    if not changes or most <= 0 or not math.isfinite(most):
        return Markup("")
    cells = _gathered(changes)
    width = _WIDTH / len(cells)
    body = "".join(
        f'<rect class="cell" x="{i * width:.2f}" y="0" width="{width:.2f}" height="12" '
        f'fill-opacity="{min(max(change / most, 0.0), 1.0) if math.isfinite(change) else 1.0:.3f}"/>'
        for i, change in enumerate(cells)
    )
    return _svg(_WIDTH, 12, body)


class _Scale:
    """From data to pixels of a curve; a flat one lies in the middle."""

    def __init__(self, first: float, last: float, low: float, high: float) -> None:
        self._first, self._span = first, (last - first) or 1.0
        self._low, self._reach = (low, high - low) if high > low else (low - 1, 2.0)

    def __call__(self, step: float, value: float) -> str:
        x = _MARGIN + (step - self._first) / self._span * (_CURVE_WIDTH - 2 * _MARGIN)
        y = _CURVE_HEIGHT - _MARGIN - (value - self._low) / self._reach * (_CURVE_HEIGHT - 2 * _MARGIN)
        return f"{x:.1f},{y:.1f}"


def _one_curve(points: Sequence[tuple[float, float, float]], scale: _Scale, which: str) -> str:
    if not points:
        return ""
    ordered = sorted(points)
    upper = [scale(step, mean + spread) for step, mean, spread in ordered]
    lower = [scale(step, mean - spread) for step, mean, spread in reversed(ordered)]
    middle = [scale(step, mean) for step, mean, _ in ordered]
    dots = "".join(_circle(place, which) for place in middle) if len(middle) <= _MOST_DOTS else ""
    return (
        f'<polygon class="band {which}" points="{" ".join(upper + lower)}"/>'
        f'<polyline class="line {which}" points="{" ".join(middle)}"/>{dots}'
    )


def _circle(place: str, which: str) -> str:
    x, _, y = place.partition(",")
    return f'<circle class="dot {which}" cx="{x}" cy="{y}" r="3"/>'


def _gathered(changes: Sequence[float]) -> list[float]:
    """Return at most as many cells as there are pixels, each the largest of those it stands for."""
    each = math.ceil(len(changes) / _WIDTH)
    return [max(changes[i : i + each]) for i in range(0, len(changes), each)]


def _points(heights: Sequence[float], most: float) -> str:
    step = _WIDTH / len(heights)
    return " ".join(
        f"{(i + 0.5) * step:.1f},{_HEIGHT - height / most * (_HEIGHT - 2):.1f}" for i, height in enumerate(heights)
    )


def _axis() -> str:
    return f'<line class="axis" x1="{_WIDTH / 2}" y1="0" x2="{_WIDTH / 2}" y2="{_HEIGHT}"/>'


def _dot(position: float) -> str:
    return f'<circle class="dot" cx="{(position + 1) / 2 * _WIDTH:.1f}" cy="{_HEIGHT / 2}" r="2"/>'


def _svg(width: int, height: int, body: str) -> Markup:
    # What is drawn stands beside it in words, so a reader of screens is spared the picture.
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true" '
        f'focusable="false">{body}</svg>'
    )
