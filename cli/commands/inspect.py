"""ckpt inspect: what is this."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any, Protocol, TypeVar

import click

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import WEIGHTS
from ckptfmt.look.matching import matching
from ckptfmt.look.summarize import is_source
from ckptfmt.look.summary import Summary, summarize_checkpoint
from ckptfmt.remote.ahead import each
from ckptfmt.store.checkpoint import Checkpoint

from ..complete import checkpoints, tensors
from ..failure import TROUBLE
from ..options import argument, command, option
from ..output import Output
from ..summaries import describe, describe_line, describe_source, figures, layers
from ..wording import on_the_command_line

__all__ = ["inspect"]


class _Sized(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def bytes(self) -> int: ...


_Tensor = TypeVar("_Tensor", bound=_Sized)


@command(
    examples=[
        "ckpt inspect runs/breakout-042",
        "ckpt inspect runs/breakout-042 --tensor conv.0.weight --stats",
        "ckpt inspect runs/* --line",
        "ckpt inspect --source dqn_best.pth",
    ]
)
@argument(
    "paths",
    "Checkpoint folders, their URLs, or files of other programs; * that the shell left is any part of a name.",
    nargs=-1,
    metavar="CHECKPOINT...",
    shell_complete=checkpoints,
)
@option(
    "--source",
    "sources",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Show what another program's file holds, without converting or running it.",
)
@option("--tensors/--no-tensors", "listed", default=True, help="List the tensors (the default), or do not.")
@option("--stats", is_flag=True, help="Add minimum, maximum, mean, deviation, zeros and non-finite values.")
@option("--tensor", "name", metavar="NAME", shell_complete=tensors, help="Show one tensor only.")
@option("--filter", "pattern", metavar="GLOB", help="List only tensors whose names match, for example conv.*")
@option("--sort", type=click.Choice(["name", "size", "order"]), default="order", help="Order of the tensors.")
@option("--line", is_flag=True, help="One line per checkpoint, for scripts.")
def inspect(
    output: Output,
    paths: tuple[str, ...],
    sources: tuple[str, ...],
    listed: bool,
    stats: bool,
    name: str | None,
    pattern: str | None,
    sort: str,
    line: bool,
) -> int:
    """Show what a checkpoint, or another program's file, holds."""
    if not (paths or sources):
        raise click.UsageError("no CHECKPOINT was given")
    if name is not None and not listed:
        raise click.UsageError("--tensor and --no-tensors exclude each other")
    # What is shown of a checkpoint alone.
    asked = [word for word, given in (("--line", line), ("--tensor", name), ("--stats", stats)) if given]
    alone = len(paths) + len(sources) == 1 and "*" not in "".join(paths)
    answers = []
    errors = []
    for found in chain(_summaries(paths, stats), sources):
        try:
            if isinstance(found, CkptError):
                raise found
            if isinstance(found, str) and asked:
                raise CkptError(
                    f"is a file of another program, for which there is no {asked[0]}",
                    where=found,
                    fix=f"leave {asked[0]} out, or make a checkpoint of it with: ckpt convert",
                    code="usage.wrong",
                )
            if isinstance(found, str):
                answers.append(_source(output, found, pattern, sort, listed))
            else:
                summary = _select(found, name, pattern, sort)
                summary = summary if listed else replace(summary, tensors=())
                answers += [summary.to_dict()] if output.as_json else []
                _show(output, summary, name=name, line=line, searched=pattern is not None)
        except CkptError as e:
            if alone:
                raise
            output.error(e)
            errors.append(on_the_command_line(e, output.options).to_dict())
    if output.as_json:
        output.result(answers[0] if alone else {"checkpoints": answers, "errors": errors})
    return TROUBLE if errors else 0


def _summaries(paths: Iterable[str], stats: bool) -> Iterator[Summary | CkptError | str]:
    """Yield what each checkpoint is, or the error that says why it cannot be told; the path of what is another's."""

    def look(path: str) -> Summary | CkptError | str:
        try:
            return path if is_source(path) else _summary(path, stats)
        except CkptError as e:
            return e

    found = chain.from_iterable(map(matching, paths))
    # Figures are of every byte, of which no more than one checkpoint's are in memory.
    return map(look, found) if stats else each(look, found)


def _summary(path: str, stats: bool) -> Summary:
    with Checkpoint(path) as checkpoint:
        summary = summarize_checkpoint(checkpoint)
        if stats:
            # The one import that waits here: without figures there is no need for NumPy.
            from ckptfmt.look.stats import checkpoint_stats

            for file in checkpoint.manifest.contents:
                summary = summary.with_stats(checkpoint_stats(checkpoint, file), file)
        return summary


def _select(summary: Summary, name: str | None, pattern: str | None, sort: str) -> Summary:
    """Return the summary with the tensors that were asked for, in the order that was."""
    chosen = summary.tensors
    if name is not None and not (chosen := tuple(tensor for tensor in chosen if tensor.name == name)):
        near = get_close_matches(name, [tensor.name for tensor in summary.tensors])
        raise CkptError(
            f"holds no tensor '{printable(name)}'",
            where=summary.path,
            fix=f"did you mean {' or '.join(near)}?" if near else f"see: ckpt inspect {summary.path}",
            code="inspect.tensor",
        )
    return replace(summary, tensors=tuple(_ordered(chosen, pattern, sort)))


def _ordered(tensors: Iterable[_Tensor], pattern: str | None, sort: str) -> list[_Tensor]:
    chosen = [tensor for tensor in tensors if pattern is None or fnmatchcase(tensor.name, pattern)]
    if sort == "name":
        return sorted(chosen, key=lambda tensor: tensor.name)
    return sorted(chosen, key=lambda tensor: -tensor.bytes) if sort == "size" else chosen


def _show(output: Output, summary: Summary, *, name: str | None, line: bool, searched: bool) -> None:
    for problem in summary.warnings:
        output.warning(problem)
    if line:
        describe_line(output, summary)
    elif name is not None:
        for tensor in summary.tensors:
            figures(output, tensor)
    else:
        describe(output, summary)
        with_figures = any(tensor.stats for tensor in summary.tensors)
        # A training state has hundreds of tensors that say nothing of the network; a pattern finds those, too.
        shown = [tensor for tensor in summary.tensors if searched or tensor.file == WEIGHTS]
        layers(output, shown, stats=with_figures)
        if searched and not shown:
            output.note(f"{summary.path}: no tensor has such a name")


def _source(output: Output, path: str, pattern: str | None, sort: str, listed: bool) -> dict[str, Any]:
    # This import waits too: reading foreign files takes as much again as all the rest.
    from ckptfmt.look.anatomy import summarize_source

    found = summarize_source(path)
    for problem in found.warnings:
        output.warning(problem)
    describe_source(output, found)
    answer = found.to_dict()
    # The totals stay those of all tensors, whichever are listed.
    for network, entry in zip(found.networks, answer["networks"], strict=True):
        chosen = _ordered(network.tensors, pattern, sort) if listed else []
        layers(output, chosen)
        entry["tensors"] = [tensor.to_dict() for tensor in chosen]
    return answer
