"""ckpt train: the reference trainer."""

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import click

from ckptfmt.errors import TargetExists
from ckptfmt.rl.families.describe import describe
from ckptfmt.rl.training.config import RAINBOW, TrainConfig
from ckptfmt.rl.training.events import Evaluated, Event, Progress, Saved
from ckptfmt.rl.training.train import Trainer

from ..complete import checkpoints
from ..failure import INTERRUPTED
from ..options import command, option
from ..output import Output
from ..text import count

__all__ = ["train"]

_SETTINGS = "Settings"


class _Shown:
    """Says what happens: on a terminal a line that lives, in a pipe a line for each evaluation, or JSON lines."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.live = output.as_text and output.err.is_live
        self.last: Progress | None = None
        self.stop: Callable[[], None] = lambda: None

    def __call__(self, event: Event) -> None:
        """Show an event; where nobody listens any more the training is stopped, and saves."""
        try:
            self._show(event)
            self.output.out.flush()
        except BrokenPipeError:
            self.output.out.discard()
            self.stop()

    def _show(self, event: Event) -> None:
        match event:
            case Progress():
                self.last = event
                if self.live:
                    sys.stderr.write("\r\x1b[2K" + _progress(event))
                    sys.stderr.flush()
                self.output.stream(_without_none(dataclasses.asdict(event)))
            case Evaluated():
                self._clear()
                mean, std = event.evaluation.mean, event.evaluation.std
                best = "  best so far" if event.best else ""
                step, speed = count(event.step), f"{self.last.steps_per_second:,.0f}" if self.last else "?"
                self.output.line(f"step {step:>11}  evaluation {mean:,.1f} ± {std:,.1f}  {speed} steps/s{best}")
                self.output.stream({"step": event.step, "evaluation": event.evaluation.to_dict(), "best": event.best})
            case Saved():
                self._clear()
                if event.kind != "best":
                    self.output.line(f"saved {event.path}")
                self.output.stream(
                    {"saved": event.path, "step": event.step, "kind": event.kind, "digest": event.digest}
                )

    def _clear(self) -> None:
        if self.live:
            sys.stderr.write("\r\x1b[2K")


def _settings(function: Callable[..., int]) -> Callable[..., int]:
    """Add an option for every setting, named and explained as it is in the configuration."""
    for field in reversed(dataclasses.fields(TrainConfig)):
        name, text = field.name.replace("_", "-"), field.metadata["doc"]
        default = "" if field.default is None else f" [{field.default}]"
        if field.type is bool:
            add = option(f"--{name}/--no-{name}", field.name, default=None, group=_SETTINGS, help=text + default)
        else:
            kind = next(kind for kind in (int, float, str) if field.type in (kind, kind | None))
            metavar = {int: "N", float: "X", str: "TEXT"}[kind]
            add = option(f"--{name}", field.name, type=kind, metavar=metavar, group=_SETTINGS, help=text + default)
        function = add(function)
    return function


@command(
    examples=[
        "ckpt train --env ALE/Breakout-v5 --out runs/breakout --seed 1",
        "ckpt train --rainbow --config atari.yaml --out runs/rainbow",
        "ckpt train --env ckptfmt/Catch-v0 --dry-run",
        "ckpt train --resume runs/breakout/step-000000612340",
    ]
)
@option("--config", "file", type=click.Path(), metavar="FILE", help="A YAML file of settings; options override it.")
@option("--out", type=click.Path(), metavar="DIR", help="Folder of the checkpoints.")
@option("--resume", metavar="CHECKPOINT", shell_complete=checkpoints, help="Resume from a checkpoint of this trainer.")
@option("--trust", is_flag=True, help="Trust what the checkpoint asks for beyond what its network needs.")
@option("--rainbow", is_flag=True, help="Turn on all six techniques of Rainbow (Hessel 2018).")
@option("--dry-run", is_flag=True, help="Print the full configuration and stop.")
@_settings
def train(
    output: Output,
    file: str | None,
    out: str | None,
    resume: str | None,
    trust: bool,
    rainbow: bool,
    dry_run: bool,
    **given: Any,
) -> int:
    """Train a network on an environment, or resume a training."""
    changes = {**(RAINBOW if rainbow else {}), **{name: value for name, value in given.items() if value is not None}}
    shown = _Shown(output)
    if resume is not None:
        if file is not None:
            raise click.UsageError("--config and --resume exclude each other; a checkpoint holds its settings")
        trainer = Trainer.resume(resume, out, shown, trust=trust, **changes)
        _say_how_exact(output, trainer)
        return _run(output, shown, trainer)
    config = TrainConfig.from_file(file, **changes) if file else TrainConfig.from_dict(changes)
    if dry_run:
        _show_settings(output, config)
        return 0
    if out is None:
        raise click.UsageError("--out is missing")
    if os.path.isdir(out) and os.listdir(out):
        raise TargetExists("exists and is not empty", where=out, fix="choose another folder, or go on with --resume")
    return _run(output, shown, Trainer(config, out, shown))


def _run(output: Output, shown: _Shown, trainer: Trainer) -> int:
    shown.stop = trainer.stop
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        trainer.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    network = describe(trainer.model_config)
    where = f"{trainer.learner.device}, seed {trainer.config.seed}"
    output.line(f"{network.architecture} on {trainer.config.env}, {network.parameters:,} parameters, {where}")
    try:
        last = trainer.run()
    finally:
        trainer.close()
    if not stopped:
        return 0
    output.note(f"stopped; go on with: ckpt train --resume {last}")
    return INTERRUPTED if stopped[0] == signal.SIGINT else 128 + stopped[0]


def _say_how_exact(output: Output, trainer: Trainer) -> None:
    """Say what the checkpoint had and lacked, and which settings make it another training than before."""
    lacks = f"; lacks {', '.join(trainer.lacks)}" if trainer.lacks else ""
    pairs = [f"{name} is {after} and was {before}" for name, (before, after) in trainer.changed.items()]
    changed = f"; not exact, {', '.join(pairs)}" if pairs else ""
    output.note(f"resume: has {', '.join(trainer.has)}{lacks}{changed}" + ("" if lacks or changed else "; exact"))


def _show_settings(output: Output, config: TrainConfig) -> None:
    settings = config.to_dict()
    output.result(settings)
    for name, value in settings.items():
        output.line(f"{name}: {json.dumps(value)}")


def _progress(event: Progress) -> str:
    mean = "" if event.return_mean is None else f"  return {event.return_mean:,.1f} ± {event.return_std or 0.0:,.1f}"
    loss = "" if event.loss is None else f"  loss {event.loss:.4f}"
    left = f"{event.seconds_left / 60:,.0f} min left"
    speed = f"{event.steps_per_second:,.0f} steps/s"
    return f"step {count(event.step)}  episodes {count(event.episodes)}{loss}{mean}  {speed}  {left}"


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
