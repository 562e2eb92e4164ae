"""A training on the command line: started or resumed, shown while it goes on, stopped by a signal."""

import dataclasses
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from ckptfmt.rl.families.describe import describe
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.events import Evaluated, Event, Progress, Saved
from ckptfmt.rl.training.team import Team, joined
from ckptfmt.rl.training.train import Trainer

from .failure import INTERRUPTED
from .output import Output
from .text import count

__all__ = ["resume_training", "start_training"]


def start_training(output: Output, config: TrainConfig, out: str) -> int:
    """Train from the first step, and return the exit code; under torchrun as one of its processes."""
    with joined():
        shown = _shown(output)
        return _run(output, shown, Trainer(config, out, shown))


def resume_training(output: Output, path: str, out: str | None, changes: Mapping[str, Any], *, trust: bool) -> int:
    """Go on from a checkpoint, and return the exit code; under torchrun as one of its processes."""
    with joined():
        shown = _shown(output)
        trainer = Trainer.resume(path, out, shown, trust=trust, **changes)
        _say_how_exact(output, trainer)
        return _run(output, shown, trainer)


def _shown(output: Output) -> "_Shown":
    # What one of them says stands for all, but for an error of its own.
    if Team().rank:
        output.quiet, output.as_json = True, False
    return _Shown(output)


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
                speed = f"  {_speed(self.last)}" if self.last else ""  # none before the first report
                self.output.line(f"step {count(event.step):>11}  evaluation {mean:,.1f} ± {std:,.1f}{speed}{best}")
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


def _run(output: Output, shown: _Shown, trainer: Trainer) -> int:
    shown.stop = trainer.stop
    stopped: list[int] = []

    # However often it comes: the trainer finishes its step and saves, and only then it ends.
    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        trainer.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    network = describe(trainer.model_config)
    ranks = f", {trainer.team.size} ranks" if trainer.team.size > 1 else ""
    where = f"{trainer.learner.device}, seed {trainer.config.seed}{ranks}"
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


def _progress(event: Progress) -> str:
    mean = "" if event.return_mean is None else f"  return {event.return_mean:,.1f} ± {event.return_std or 0.0:,.1f}"
    loss = "" if event.loss is None else f"  loss {event.loss:.4f}"
    left = f"{event.seconds_left / 60:,.0f} min left"
    return f"step {count(event.step)}  episodes {count(event.episodes)}{loss}{mean}  {_speed(event)}  {left}"


def _speed(event: Progress) -> str:
    return f"{event.steps_per_second:,.0f} steps/s"


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
