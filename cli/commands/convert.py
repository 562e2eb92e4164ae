"""ckpt convert: make a checkpoint of it."""

import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from ckptfmt.convert.convert import convert as convert_file
from ckptfmt.errors import CkptError
from ckptfmt.families import registry
from ckptfmt.families.atari_dqn.config import ARCHITECTURES, JOINS
from ckptfmt.families.facts import FACTS
from ckptfmt.format.files import MANIFEST
from ckptfmt.legacy.distributed.kinds import is_distributed
from ckptfmt.legacy.fingerprint import size_of
from ckptfmt.legacy.folders import policy_file, refuse_folder
from ckptfmt.remote.url import is_url

from ..conversion import outcome_line, show_conversion, show_outcome, show_tally
from ..options import argument, command, option, waiting
from ..output import Output
from ..ranges import Number
from ..text import plural
from ..wording import OPTIONS

__all__ = ["convert"]

_FACTS = "Facts that the file does not hold"
_MANY = "Many files"


def _shape(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Read channels, height and width, as 4,84,84 or 4x84x84."""
    if text is None:
        return None
    words = text.replace("x", ",").replace("×", ",").split(",")
    if len(words) != 3 or not all(word.strip().isdecimal() for word in words):
        raise click.BadParameter(f"'{text}' is not channels, height and width, such as 4,84,84")
    return tuple(int(word) for word in words)


def _architecture(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """Read one of the eight names, FAMILY/NAME of another family, or none."""
    if text is None or text in (*ARCHITECTURES, "none"):
        return text
    family, slash, _name = text.rpartition("/")
    if not slash or registry.find(family) is None:
        known = ", ".join(name for name in registry.names() if name != "atari-dqn")
        raise click.BadParameter(
            f"'{text}' is not one of {', '.join(ARCHITECTURES)}, none, or FAMILY/NAME of a family: {known}"
        )
    return _name if family == "atari-dqn" else text


def _fact(name: str, **settings: Any) -> Callable[[Any], Any]:
    """Declare the option of a fact; its help is what the library says of it."""
    return option(OPTIONS[name], name, group=_FACTS, help=FACTS[name], **settings)


def _settings(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    """Read fields and their values, each JSON where it can be and text where not."""
    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"'{text}' is not KEY=VALUE")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


@command(
    examples=[
        "ckpt convert dqn_best.pth out --game ALE/Breakout-v5",
        "ckpt convert dqn_best.pth out --dry-run --input-scale 255",
        "ckpt convert old-runs --out-dir converted --jobs 2",
    ]
)
@argument(
    "paths",
    "The file to convert and the checkpoint folder to write; with --out-dir any number of files and folders; or URLs.",
    nargs=-1,
    required=True,
    metavar="SOURCE [DEST]",
    type=click.Path(),
)
@_fact("architecture", callback=_architecture, metavar="NAME")
@_fact("n_action", type=click.IntRange(min=1), metavar="N")
@_fact("n_atoms", type=click.IntRange(min=1), metavar="N")
@_fact("v_min", type=Number(), metavar="X")
@_fact("v_max", type=Number(), metavar="X")
@_fact("input_shape", callback=_shape, metavar="C,H,W")
@_fact("input_scale", type=Number(min=0, min_open=True), metavar="X")
@_fact("dueling_join", type=click.Choice(JOINS))
@option("--game", metavar="ID", group=_FACTS, help="The game, for example ALE/Breakout-v5.")
@option("--key", metavar="PATH", group=_FACTS, help="Which network to take, if the file holds several.")
@option(
    "--set",
    "settings",
    callback=_settings,
    multiple=True,
    metavar="KEY=VALUE",
    group=_FACTS,
    help="Any other field of the config.",
)
@option(
    "--strict",
    is_flag=True,
    help="Exit 1 instead of assuming what the file does not show, or putting placeholders in place of classes "
    "of other packages.",
)
@option("--dry-run", is_flag=True, help="Print what would be done; write nothing.")
@option("--compress", is_flag=True, help="Compress the weights if that makes them a tenth smaller.")
@option("--force", is_flag=True, help="Replace the checkpoint at DEST.")
@waiting("DEST")
@option(
    "--allow-unsafe-globals",
    "allow_unsafe",
    is_flag=True,
    help="Do not refuse a pickle that names functions used by attacks; they are still not run.",
)
@option(
    "--out-dir",
    type=click.Path(),
    metavar="DIR",
    group=_MANY,
    help="Folder for the checkpoints; subfolders of a source are kept.",
)
@option(
    "--jobs",
    # Each is a process of its own; more of them than any machine has processors only wait.
    type=click.IntRange(1, 256),
    default=1,
    metavar="N",
    group=_MANY,
    help="How many files to convert at the same time [1].",
)
@option(
    "--timeout",
    type=Number(min=0, min_open=True),
    default=600.0,
    metavar="SECONDS",
    group=_MANY,
    help="Give up on a file that takes longer [600]; needs --jobs 2 or more.",
)
@option(
    "--executor",
    metavar="URL",
    group=_MANY,
    help="Convert on the workers of a Dask cluster: dask://HOST:PORT, that of its scheduler.",
)
def convert(
    output: Output,
    paths: tuple[str, ...],
    out_dir: str | None,
    jobs: int,
    timeout: float,
    executor: str | None,
    **given: Any,
) -> int:
    """Convert another program's file, without running anything in it."""
    options = _options(given)
    if out_dir is not None:
        if executor is not None:
            # The import that waits: few convert on other machines.
            from ..executors import connect

            options["executor"] = connect(executor)
        return _convert_many(output, paths, out_dir, {**options, "jobs": jobs, "timeout": timeout})
    if executor is not None:
        raise click.UsageError("--executor is for many files: say where they go with --out-dir DIR")
    if jobs > 1:
        raise click.UsageError("--jobs is for many files: say where they go with --out-dir DIR")
    if len(paths) > 2 or (len(paths) == 1 and not options["dry_run"]):
        raise click.UsageError("give SOURCE and DEST, or --out-dir DIR for any number of sources")
    source, dest = (*paths, "")[:2]
    if os.path.isdir(source) and not is_distributed(source) and policy_file(source) is None:
        if os.path.exists(os.path.join(source, MANIFEST)):
            raise click.UsageError(f"{source} is a checkpoint already; there is nothing to convert")
        refuse_folder(source)
        raise click.UsageError(f"{source} is a folder; say where its checkpoints go with --out-dir DIR")
    with output.progress(_bytes(source), "converting") as bar:
        result = convert_file(source, dest, progress=bar.advance, **options)
    show_conversion(output, source, result)
    output.result(result.to_dict())
    return 0


def _bytes(path: str) -> int:
    try:
        return 0 if is_url(path) else size_of(path)
    except (OSError, ValueError):  # the conversion says what is wrong with it
        return 0


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options as `ckptfmt.convert` takes them; what was not given is left out."""
    if (game := given.pop("game")) is not None:
        given["settings"]["game"] = game
    given["overwrite"] = given.pop("force")
    return {name: value for name, value in given.items() if value is not None}


def _convert_many(output: Output, paths: tuple[str, ...], out_dir: str, options: dict[str, Any]) -> int:
    # What many files need beside one: most calls convert one, and start sooner without.
    from ckptfmt.convert.batch import convert_many
    from ckptfmt.convert.sources import find_sources

    sources = find_sources(paths, out_dir)
    if not sources.items:
        left = f"; {plural(sources.others, 'other file')} left alone" if sources.others else ""
        raise CkptError(
            f"holds no file to convert{left}",
            where=", ".join(paths),
            fix="name a file itself, and it is read whatever it is called",
            code="source.none",
        )
    tally: Counter[str] = Counter(files=len(sources.items), others=sources.others)
    # Closed here, whatever ends the loop: who waits for the collector ends the workers after their locks are gone.
    with closing(convert_many(sources.items, **options)) as outcomes:
        for outcome in outcomes:
            tally[outcome.status] += 1
            show_outcome(output, outcome)
            output.stream(outcome_line(outcome))
            output.out.flush()
    show_tally(output, tally)
    output.result({name: tally[name] for name in ("files", "converted", "planned", "unchanged", "failed", "others")})
    return 1 if tally["failed"] else 0
