"""Pictures of results, as SVG written by hand: bars with the goal line, curves in log-log, curves with bands."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.measure import Result
from benchmarks.table import number

__all__ = ["bands", "bars", "curves"]

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.dim{fill:#6e7781}.grid{stroke:#d8dee4}.goal{stroke:#24292f;"
    "stroke-width:2}.good{fill:#2da44e}.bad{fill:#cf222e}.limit{stroke:#6e7781;stroke-dasharray:5 4;fill:none}"
)
_COLOURS = ("#0969da", "#8250df", "#bf8700", "#1a7f37", "#cf222e", "#57606a", "#953800", "#bf3989")

_LABEL, _BARS, _ROW = 530, 380, 26
_CURVES = (760, 460)

_BANDS = (640, 320)

Points = Sequence[tuple[float, float]]
# x, and the lowest, the mean and the highest y there.
Band = Sequence[tuple[float, float, float, float]]


def bars(results: Sequence[Result], caption: str) -> str:
    """Return a bar for each result, as a part of its goal: what ends left of the line has reached it."""
    longest = 2.0
    goal = _LABEL + _BARS / longest
    height = 56 + _ROW * len(results)
    parts = [f'<text x="{goal}" y="18" text-anchor="middle">goal</text>']
    for index, result in enumerate(results):
        top = 28 + _ROW * index
        part = min(result.value / result.goal, longest)
        colour = "good" if result.reached else "bad"
        figure = f"{number(result.value)} {result.unit}, goal {number(result.goal)}"
        parts += [
            f'<text x="{_LABEL - 8}" y="{top + 15}" text-anchor="end">{result.row}  {escape(result.work)}</text>',
            f'<rect x="{_LABEL}" y="{top + 3}" width="{part * _BARS / longest:.1f}" height="16" class="{colour}"/>',
            f'<text x="{_LABEL + _BARS + 8}" y="{top + 15}" class="dim">{figure}</text>',
        ]
    bottom = 28 + _ROW * len(results)
    parts.append(f'<line x1="{goal}" y1="24" x2="{goal}" y2="{bottom}" class="goal"/>')
    parts.append(f'<text x="8" y="{bottom + 18}" class="dim">{escape(caption)}</text>')
    return _svg(_LABEL + _BARS + 170, height, parts)


def curves(title: str, axes: tuple[str, str], lines: Mapping[str, Points], limits: Mapping[str, Points]) -> str:
    """Return lines through points in log-log, and dashed ones for what no program can pass."""
    points = [point for line in (*lines.values(), *limits.values()) for point in line]
    frame = _Frame(points, _CURVES)
    parts = [f'<text x="{frame.left}" y="20">{escape(title)}</text>', *frame.grid(axes)]
    for name, line in limits.items():
        parts += [f'<path d="{frame.path(line)}" class="limit"/>', frame.label(name, line[-1], "#6e7781")]
    for colour, (name, line) in zip(_COLOURS, lines.items(), strict=False):
        parts.append(f'<path d="{frame.path(line)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in map(frame.place, line)]
        parts.append(frame.label(name, line[-1], colour))
    return _svg(*_CURVES, parts)


def bands(title: str, axes: tuple[str, str], lines: Mapping[str, Band]) -> str:
    """Return means as lines through bands from the lowest to the highest, on even scales."""
    (width, height), left, top = _BANDS, 64, 34
    right, bottom = width - 24, height - 46
    ends = [max(x for band in lines.values() for x, *_ in band)]
    low, high, step = _even([y for band in lines.values() for _, *ys in band for y in ys])

    def place(x: float, y: float) -> str:
        return f"{left + x / ends[0] * (right - left):.1f},{bottom - (y - low) / (high - low) * (bottom - top):.1f}"

    parts = [f'<text x="{left}" y="20">{escape(title)}</text>']
    for i in range(round((high - low) / step) + 1):
        y = bottom - i * step / (high - low) * (bottom - top)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{low + i * step:g}</text>')
    for i in range(6):
        x = left + i / 5 * (right - left)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{ends[0] * i / 5:,.0f}</text>')
    names = right
    for colour, (name, band) in reversed([*zip(_COLOURS[::2], lines.items(), strict=False)]):
        outline = [place(x, most) for x, _, _, most in band] + [place(x, least) for x, least, _, _ in reversed(band)]
        parts.append(f'<path d="M{" L".join(outline)} Z" fill="{colour}" fill-opacity="0.18"/>')
        mean = " L".join(place(x, y) for x, _, y, _ in band)
        parts.append(f'<path d="M{mean}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{names}" y="20" text-anchor="end" style="fill:{colour}">{escape(name)}</text>')
        names -= 7 * len(name) + 16
    middle = (top + bottom) / 2
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 36}" text-anchor="middle">{escape(axes[0])}</text>')
    turned = f'transform="rotate(-90 14 {middle})" text-anchor="middle"'
    parts.append(f'<text x="14" y="{middle}" {turned}>{escape(axes[1])}</text>')
    return _svg(*_BANDS, parts)


def _even(values: Sequence[float]) -> tuple[float, float, float]:
    """Return round ends of a scale that holds the values, and its step."""
    span = (max(values) - min(values)) or 1.0
    step = next(s for s in (m * 10.0**e for e in range(-6, 9) for m in (1, 2, 5)) if span / s <= 6)
    return math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step, step


class _Frame:
    """Where points of a log-log picture lie."""

    def __init__(self, points: Points, size: tuple[int, int]) -> None:
        self.left, self.right, self.top, self.bottom = 70, size[0] - 170, 34, size[1] - 46
        self._x = _decades([x for x, _ in points])
        self._y = _decades([y for _, y in points])
        self._taken: list[float] = []

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        x = self.left + _part(point[0], self._x) * (self.right - self.left)
        return x, self.bottom - _part(point[1], self._y) * (self.bottom - self.top)

    def path(self, line: Points) -> str:
        return "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, line))

    def label(self, name: str, point: tuple[float, float], colour: str) -> str:
        """Return a name beside the end of a line, moved until it covers no other."""
        y = self.place(point)[1] + 4
        while any(abs(y - other) < 14 for other in self._taken):
            y += 3
        self._taken.append(y)
        return f'<text x="{self.right + 8}" y="{y:.1f}" style="fill:{colour}">{escape(name)}</text>'

    def grid(self, axes: tuple[str, str]) -> list[str]:
        parts = []
        for decade in range(self._x[0], self._x[1] + 1):
            x = self.place((10.0**decade, 10.0 ** self._y[0]))[0]
            parts.append(f'<line x1="{x:.1f}" y1="{self.top}" x2="{x:.1f}" y2="{self.bottom}" class="grid"/>')
            parts.append(f'<text x="{x:.1f}" y="{self.bottom + 16}" text-anchor="middle">{_power(decade)}</text>')
        for decade in range(self._y[0], self._y[1] + 1):
            y = self.place((10.0 ** self._x[0], 10.0**decade))[1]
            parts.append(f'<line x1="{self.left}" y1="{y:.1f}" x2="{self.right}" y2="{y:.1f}" class="grid"/>')
            parts.append(f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">{_power(decade)}</text>')
        middle = (self.left + self.right) / 2
        parts.append(f'<text x="{middle}" y="{self.bottom + 36}" text-anchor="middle">{escape(axes[0])}</text>')
        parts.append(
            f'<text x="14" y="{(self.top + self.bottom) / 2}" transform="rotate(-90 14 '
            f'{(self.top + self.bottom) / 2})" text-anchor="middle">{escape(axes[1])}</text>'
        )
        return parts


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _part(value: float, decades: tuple[int, int]) -> float:
    return (math.log10(value) - decades[0]) / (decades[1] - decades[0])


def _power(decade: int) -> str:
    return f"{10**decade:,}" if decade >= 0 else f"{10.0**decade:.{-decade}f}"


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    box = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" {box}>', f"<style>{_STYLE}</style>"]
    return "\n".join([*head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>\n"])
