"""ckpt validate: is it sound."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import click

from ckptfmt.codes import check_pattern, explain
from ckptfmt.errors import CkptError, Problem
from ckptfmt.format.shards import is_data_file
from ckptfmt.look.matching import matching
from ckptfmt.look.validate import Progress, Report, counts
from ckptfmt.look.validate import validate as look_at
from ckptfmt.remote.ahead import each

from ..complete import checkpoints
from ..failure import TROUBLE
from ..options import argument, command, exit_zero, option
from ..output import Output
from ..terminal import Obeyed
from ..text import plural
from ..wording import sentence

__all__ = ["validate"]


@command(
    examples=[
        "ckpt validate runs/breakout-042",
        "ckpt validate runs/* --fast",
        "ckpt validate runs/* --json > report.json",
        "ckpt validate --explain weights.digest",
    ]
)
@argument(
    "paths",
    "One or more checkpoint folders, or their URLs; * in one that the shell left stands for any part of a name.",
    nargs=-1,
    metavar="CHECKPOINT...",
    shell_complete=checkpoints,
)
@option("--deep/--fast", "deep", default=True, help="Read every byte (the default), or manifest and headers only.")
@option("--strict", is_flag=True, help="Treat warnings as errors.")
@option("--select", multiple=True, metavar="CODE", help="Report only these problems, for example weights.*")
@option("--ignore", multiple=True, metavar="CODE", help="Do not report these problems.")
@option("--explain", "code", metavar="CODE", help="Explain a problem or error code: meaning, cause and remedy.")
@option("--format", "form", type=click.Choice(["text", "github", "json"]), default="text", help="Output format.")
@exit_zero
def validate(
    output: Output,
    paths: tuple[str, ...],
    deep: bool,
    strict: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    code: str | None,
    form: str,
) -> int:
    """Check that checkpoints are intact, down to every byte."""
    # Linters that write for GitHub call it so; everywhere else here it is --json.
    output.as_json |= form == "json"
    if code is not None and paths:
        raise click.UsageError("--explain and CHECKPOINT exclude each other")
    if code is not None:
        return _explain(output, code)
    if not paths:
        raise click.UsageError("no CHECKPOINT was given")
    for pattern in (*select, *ignore):
        check_pattern(pattern)
    show = _show_for_github if form == "github" else _show
    alone = len(paths) == 1 and "*" not in paths[0]
    # What each one is told by is kept for the one document of --json alone: there may be a hundred thousand.
    told: list[dict[str, object]] = []
    tally = Counter(counts([]))
    hidden = 0
    troubles: list[CkptError] = []
    found: Iterable[str] = chain.from_iterable(map(matching, paths))
    found = list(found) if deep else found
    with output.progress(sum(map(_bytes, found)) if deep else 0, "reading") as bar:
        for report, trouble in _looked_at(found, bar.advance, deep=deep, strict=strict):
            if trouble is not None and alone:
                raise trouble
            troubles += [trouble] if trouble is not None else []
            shown = report.only(select, ignore) if trouble is None else report
            hidden += len(report.problems) - len(shown.problems)
            report = shown
            tally.update(counts([report]))
            told += [report.to_dict()] if output.as_json else []
            bar.clear()
            show(output, report)
    for trouble in troubles:
        output.error(trouble)
    output.result({"checkpoints": told, "counts": dict(tally)})
    if form == "text":
        output.line(_verdict(tally, deep=deep), f"; {plural(hidden, 'problem')} not reported" if hidden else "")
    return TROUBLE if troubles else int(tally["invalid"] > 0)


def _looked_at(
    paths: Iterable[str], progress: Progress, *, deep: bool, strict: bool
) -> Iterator[tuple[Report, CkptError | None]]:
    """Yield the report of each, and the error for which nobody could look at it."""

    def look(path: str) -> tuple[Report, CkptError | None]:
        try:
            # Of several at a time none says how far it is.
            how_far = {"progress": progress} if deep else {}
            return look_at(path, deep=deep, strict=strict, **how_far), None
        except CkptError as e:
            # In an answer about many that is no reason to call it valid.
            return Report(path, (Problem.of(e),), deep=deep), e

    return map(look, paths) if deep else each(look, paths)


def _explain(output: Output, code: str) -> int:
    text = explain(code)
    output.result({"code": code, "explanation": text})
    for line in text.splitlines():
        output.line(line)
    return 0


def _bytes(path: str) -> int:
    try:
        with os.scandir(path) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries if is_data_file(entry.name))
    except (OSError, ValueError):
        return 0


def _show(output: Output, report: Report) -> None:
    meaning = "bad" if not report.valid else "warning" if report.problems else "good"
    output.line(output.sign(meaning), " ", output.paint(report.path, "bold"))
    width = max((len(problem.code) for problem in report.problems), default=0)
    for problem in report.problems:
        colour = "red" if problem.severity == "error" else "yellow"
        label = output.paint(f"{problem.code:<{width}}", colour)
        output.line("    ", label, "   ", sentence(problem, output.options))


def _show_for_github(output: Output, report: Report) -> None:
    """Write a workflow command for each problem, so that it is shown beside the file it is in."""
    for problem in report.problems:
        file = _escaped(os.path.join(report.path, problem.where.split(" ")[0].rstrip(":")), ":", ",")
        text = _escaped(sentence(problem, output.options))
        line = f"::{problem.severity} file={file},title={_escaped(problem.code, ':', ',')}::{text}"
        output.line(Obeyed(output.paint(line)))


def _escaped(text: str, *more: str) -> str:
    for char in ("%", "\r", "\n", *more):
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _verdict(tally: Mapping[str, int], *, deep: bool) -> str:
    total = plural(tally["checkpoints"], "checkpoint")
    hint = "" if deep else "; only manifests and headers were read"
    if not tally["problems"]:
        return f"{total}, {'all ' if tally['checkpoints'] > 1 else ''}valid{hint}"
    parts = [
        f"{tally['invalid']:,} invalid" if tally["invalid"] else "",
        f"{tally['warnings']:,} with warnings" if tally["warnings"] else "",
        plural(tally["problems"], "problem"),
    ]
    return f"{total}: {', '.join(filter(None, parts))}{hint}"
