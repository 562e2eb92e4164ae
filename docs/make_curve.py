"""Draw the curve of a training: `python docs/make_curve.py RUN` writes docs/curve.json and docs/curve.svg.

RUN is the folder that `ckpt train` wrote; without it the picture is drawn again from docs/curve.json.
"""

import json
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
DATA, PICTURE = DOCS / "curve.json", DOCS / "curve.svg"
NAMES = ("train/return", "train/epsilon", "evaluation/return_mean")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 56, 700, 36, 312

Points = list[tuple[int, float]]


def read(run: str) -> dict[str, Points]:
    """Return step and value of the scalars in a run's tensorboard folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(Path(run) / "tensorboard"))
    log.Reload()
    return {name: [(scalar.step, round(scalar.value, 4)) for scalar in log.Scalars(name)] for name in NAMES}


def draw(scalars: dict[str, Points], title: str) -> str:
    """Return the picture: returns of training and evaluation on the left axis, epsilon from 0 to 1 on the right."""
    returns = [value for name in (NAMES[0], NAMES[2]) for _, value in scalars[name]]
    low, high, last = min(*returns, 0.0), max(*returns, 0.0), max(step for step, _ in scalars[NAMES[0]])

    def path(name: str, bottom: float, top: float) -> str:
        wide, tall = (RIGHT - LEFT) / last, (BOTTOM - TOP) / (top - bottom)
        spots = [(LEFT + wide * step, BOTTOM - tall * (value - bottom)) for step, value in scalars[name]]
        return "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in spots)

    lines = [
        (path(NAMES[0], low, high), "#0969da", "return in training, with exploration (last 100 episodes)"),
        (path(NAMES[2], low, high), "#1a7f37", "return in evaluation"),
        (path(NAMES[1], 0.0, 1.0), "#bf8700", "epsilon, share of random actions (1 at the top)"),
    ]
    parts = [f'<text x="{LEFT}" y="20">{title}</text>']
    parts.append(f'<path d="M{LEFT},{TOP} V{BOTTOM} H{RIGHT}" fill="none" stroke="#6e7781"/>')
    zero = BOTTOM - (BOTTOM - TOP) * (0 - low) / (high - low)
    parts.append(f'<path d="M{LEFT},{zero:.1f} H{RIGHT}" stroke="#d0d7de" stroke-dasharray="4 4"/>')
    for place, text in sorted({TOP: f"{high:.3g}", zero: "0", BOTTOM: f"{low:.3g}"}.items()):
        parts.append(f'<text x="{LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<text x="{RIGHT}" y="{BOTTOM + 18}" text-anchor="end">{last:,} steps</text>')
    for row, (line, colour, text) in enumerate(lines):
        parts.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 230}" y="{TOP + 14 + 18 * row}" fill="{colour}">{text}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="12">', *parts, "</svg>", ""])


def main() -> None:
    """Write the figures of a run, if one is named, and the picture of them."""
    if len(sys.argv) > 1:
        from ckptfmt import open as open_checkpoint

        with open_checkpoint(max(Path(sys.argv[1]).glob("step-*"), key=lambda p: int(p.name[5:]))) as checkpoint:
            title = f"{checkpoint.training_info['training_config']['env']}, {checkpoint.manifest.architecture.name}"
        DATA.write_text(json.dumps({"title": title, "scalars": read(sys.argv[1])}) + "\n")
    document = json.loads(DATA.read_text())
    PICTURE.write_text(draw(document["scalars"], document["title"]))


if __name__ == "__main__":
    main()
