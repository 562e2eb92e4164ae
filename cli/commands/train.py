"""ckpt train: the reference trainer."""

import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

import click

from ckptfmt.errors import TargetExists
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.presets import PRESETS, preset_settings

from ..complete import checkpoints
from ..options import command, option
from ..output import Output
from ..ranges import Number

__all__ = ["train"]

_SETTINGS = "Settings"


def _settings(function: Callable[..., int]) -> Callable[..., int]:
    """Add an option for every setting, named and explained as it is in the configuration."""
    # Each decorator puts its option in front of those before. None where an option is not given: then the value of a
    # file or a preset holds, which a default would override.
    for field in reversed(dataclasses.fields(TrainConfig)):
        name, text = field.name.replace("_", "-"), field.metadata["doc"]
        default = "" if field.default is None else f" [{field.default}]"
        if field.type in (bool, bool | None):
            add = option(f"--{name}/--no-{name}", field.name, default=None, group=_SETTINGS, help=text + default)
        else:
            kind = next(kind for kind in (int, float, str) if field.type in (kind, kind | None))
            metavar = {int: "N", float: "X", str: "TEXT"}[kind]
            add = option(
                f"--{name}",
                field.name,
                type=Number() if kind is float else kind,
                metavar=metavar,
                group=_SETTINGS,
                help=text + default,
            )
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
@option(
    "--resume",
    type=click.Path(),
    metavar="CHECKPOINT",
    shell_complete=checkpoints,
    help="Resume from a checkpoint of this trainer.",
)
@option("--trust", is_flag=True, help="Trust its maker: allow settings and environments beyond what its network needs.")
@option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    metavar="NAME",
    help=f"Begin with published settings: {', '.join(PRESETS)}; --config and options override them.",
)
@option("--rainbow", is_flag=True, help="The same as --preset rainbow: all six techniques, as published (Hessel 2018).")
@option("--dry-run", is_flag=True, help="Print the full configuration and stop.")
@_settings
def train(
    output: Output,
    file: str | None,
    out: str | None,
    resume: str | None,
    trust: bool,
    preset: str | None,
    rainbow: bool,
    dry_run: bool,
    **given: Any,
) -> int:
    """Train a network on an environment, or resume a training.

    Under torchrun (torchrun --nproc-per-node=4 -m ckptfmt train ...) all processes train one network, each with games
    and a replay buffer of its own; steps count the actions of all.
    """
    if rainbow and preset not in (None, "rainbow"):
        raise click.UsageError("--rainbow is --preset rainbow, and another preset was given")
    begin = preset_settings("rainbow" if rainbow else preset)
    changes = {name: value for name, value in given.items() if value is not None}
    if resume is not None:
        if begin:
            raise click.UsageError("--preset and --resume exclude each other; a checkpoint holds its settings")
        if file is not None:
            raise click.UsageError("--config and --resume exclude each other; a checkpoint holds its settings")
        # This import waits, here and below: the help and the settings need no torch.
        from ..training import resume_training

        return resume_training(output, resume, out, changes, trust=trust)
    config = TrainConfig.from_file(file, begin, **changes) if file else TrainConfig.from_dict({**begin, **changes})
    if dry_run:
        _show_settings(output, config)
        return 0
    if out is None:
        raise click.UsageError("--out is missing")
    if os.path.isdir(out) and os.listdir(out):
        raise TargetExists("exists and is not empty", where=out, fix="choose another folder, or go on with --resume")
    from ..training import start_training

    return start_training(output, config, out)


def _show_settings(output: Output, config: TrainConfig) -> None:
    settings = config.to_dict()
    output.result(settings)
    for name, value in settings.items():
        output.line(f"{name}: {json.dumps(value)}")
