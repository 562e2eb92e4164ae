"""ckpt diff: what changed."""

from dataclasses import replace

import click

from ckptfmt.look.diff import diff as compare

from ..behaving import behaviour_of
from ..complete import checkpoints
from ..differences import show_bars, show_behaviour, show_diff, show_markdown, show_names, sort_weights
from ..options import argument, command, exit_zero, option
from ..output import Output
from ..ranges import Number
from ..text import plural

__all__ = ["diff"]


@command(
    examples=[
        "ckpt diff runs/breakout-041 runs/breakout-042",
        "ckpt diff dqn_best.pth runs/breakout-042 --only weights",
        "ckpt diff runs/breakout-041 runs/breakout-042 --stat --sort change",
        "ckpt diff runs/breakout-041 runs/breakout-042 --frames breakout.trace",
    ]
)
@argument("a", "A checkpoint, its URL, or a foreign file.", type=click.Path(), shell_complete=checkpoints)
@argument("b", "The checkpoint or foreign file to compare it with.", type=click.Path(), shell_complete=checkpoints)
@option(
    "--only",
    multiple=True,
    metavar="WORD",
    help="Compare only this: manifest, weights, or the name of a field or tensor.",
)
@option(
    "--ignore",
    multiple=True,
    metavar="WORD",
    help="Leave this out: manifest, weights, or the name of a field or tensor.",
)
@option("--rtol", type=Number(min=0), default=0.0, metavar="X", help="Relative tolerance for weights.")
@option("--atol", type=Number(min=0), default=0.0, metavar="X", help="Absolute tolerance for weights.")
@option("--key", metavar="PATH", help="Which network of a foreign file to take, if it holds several.")
@option(
    "--allow-unsafe-globals",
    "allow_unsafe",
    is_flag=True,
    help="Do not refuse a pickle that names functions used by attacks; they are still not run.",
)
@option("--frames", type=click.Path(), metavar="TRACE", help="Compare the two networks on the frames of a trace.")
@option(
    "--stat",
    "form",
    flag_value="stat",
    group="Form",
    help="One line per tensor, with a bar for the size of its change.",
)
@option("--name-only", "form", flag_value="name-only", group="Form", help="Names alone.")
@option(
    "--name-status",
    "form",
    flag_value="name-status",
    group="Form",
    help="Names, each with M (modified), A (added), D (deleted) or R (renamed).",
)
@option("--md", "form", flag_value="md", group="Form", help="Print Markdown, for a comment on a pull request.")
@option(
    "--sort",
    type=click.Choice(["name", "change"]),
    group="Form",
    help="Order of the tensors: by name, or largest change first.",
)
@exit_zero
def diff(
    output: Output,
    a: str,
    b: str,
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    rtol: float,
    atol: float,
    key: str | None,
    allow_unsafe: bool,
    frames: str | None,
    form: str | None,
    sort: str | None,
) -> int:
    """Show what changed between two checkpoints."""
    names = form in ("name-only", "name-status")
    # They take far longer than the digests that tell what differs, so only where somebody sees or asks for them.
    numbers = not (names or output.quiet) or output.as_json or rtol > 0 or atol > 0 or sort == "change"
    found = compare(
        a, b, only=only, ignore=ignore, rtol=rtol, atol=atol, numbers=numbers, key=key, allow_unsafe=allow_unsafe
    )
    found = replace(found, weights=tuple(sort_weights(found.weights, sort or "")))
    behaviour = behaviour_of(a, b, frames) if frames is not None else None
    told = {"behaviour": behaviour.to_dict()} if behaviour else {}
    if output.as_json:
        output.result({**found.to_dict(), **told})
    if names:
        show_names(output, found, status=form == "name-status")
    else:
        show = {"stat": show_bars, "md": show_markdown}.get(form or "", show_diff)
        show(output, found)
    if found.unlisted:
        output.note(f"the manifests differ in {plural(found.unlisted, 'field')} more than are listed")
    if behaviour:
        show_behaviour(output, behaviour)
    return 0 if found.same else 1
