"""ckpt report: one page to send to a colleague."""

import os

import click

from ckptfmt.store.write.newfile import write_new

from ..behaving import behaviour_of
from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output
from ..text import size

__all__ = ["report"]


@command(
    examples=[
        "ckpt report runs/breakout-042",
        "ckpt report runs/breakout-041 runs/breakout-042 -o change.html --force",
        "ckpt report runs/breakout-042 --trace breakout.trace --force",
        "ckpt report runs/b-041 runs/b-042 --frames b.trace --spectrum --force",
    ]
)
@argument("a", "A checkpoint.", required=False, type=click.Path(), shell_complete=checkpoints)
@argument("b", "A second checkpoint: the page then shows what changed.", required=False, type=click.Path())
@option("-o", "--output", "dest", type=click.Path(), metavar="FILE", help="Where to write; NAME.html by default.")
@option("--trace", type=click.Path(), metavar="FILE", help="Add a game that it played, from ckpt play --trace.")
@option("--frames", type=click.Path(), metavar="TRACE", help="Show what both networks do with the frames of a trace.")
@option("--spectrum", is_flag=True, help="Draw the singular values of each layer.")
@option(
    "--no-weights",
    "weights",
    is_flag=True,
    default=True,
    flag_value=False,
    help="Leave out the tensors and their pictures.",
)
@option("--open", "show", is_flag=True, help="Show it in a browser.")
@option("--force", "overwrite", is_flag=True, help="Replace a file that is there.")
def report(
    output: Output,
    a: str | None,
    b: str | None,
    dest: str | None,
    trace: str | None,
    frames: str | None,
    spectrum: bool,
    weights: bool,
    show: bool,
    overwrite: bool,
) -> int:
    """Write one page about a checkpoint, or about two.

    The page is a single file that loads nothing from elsewhere; it holds no script but the player of a trace. With
    --trace alone it is about that game.
    """
    if not spectrum:
        # Nothing else multiplies matrices, and the threads that OpenBLAS starts for it keep a core busy with waiting.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A guest of this command alone: its help is there without it.
    from ckptfmt.report import report as make_page
    from ckptfmt.report import trace_page

    if a is None and trace is None:
        raise click.UsageError("give a checkpoint, or a trace with --trace FILE")
    if frames is not None and b is None:
        raise click.UsageError("--frames compares two checkpoints: give a second one")
    if a is None:
        page = trace_page(trace or "")
    else:
        behaviour = behaviour_of(a, b, frames).to_dict() if b is not None and frames is not None else None
        page = make_page(a, b, weights=weights, spectrum=spectrum, trace=trace, behaviour=behaviour)
    name = os.path.basename(os.path.realpath(b or a or trace or ""))
    file = dest or f"{name}.html"
    with write_new(file, overwrite=overwrite) as staged, open(staged, "w", encoding="utf-8") as text:
        text.write(page.html)
        text.flush()
        os.fsync(text.fileno())
    output.result({"file": file, "bytes": page.bytes, "sections": list(page.sections)})
    output.line(f"{file}  {size(page.bytes)}, self-contained")
    if show:
        import webbrowser  # waits for those who ask for it

        webbrowser.open(f"file://{os.path.abspath(file)}")
    return 0
