"""ckpt diff: what changed."""

import click

from ckptfmt.look.diff import diff as compare

from ..complete import checkpoints
from ..differences import show_bars, show_diff, show_markdown, show_names, sort_weights
from ..options import argument, command, exit_zero, option
from ..output import Output

__all__ = ["diff"]


@command(
    examples=[
        "ckpt diff runs/breakout-041 runs/breakout-042",
        "ckpt diff dqn_best.pth runs/breakout-042 --only weights",
        "ckpt diff runs/breakout-041 runs/breakout-042 --stat --sort change",
    ]
)
@argument("a", "A checkpoint, or a foreign file.", type=click.Path(), shell_complete=checkpoints)
@argument("b", "What it is compared with, one or the other as well.", type=click.Path(), shell_complete=checkpoints)
@option("--only", multiple=True, metavar="WORD", help="Compare this only: manifest, weights, a path or a name.")
@option("--ignore", multiple=True, metavar="WORD", help="Leave this out: manifest, weights, a path or a name.")
@option("--rtol", type=click.FloatRange(min=0), default=0.0, metavar="X", help="Let numbers differ by this share.")
@option("--atol", type=click.FloatRange(min=0), default=0.0, metavar="X", help="Let numbers differ by this much.")
@option("--key", metavar="PATH", help="Which network of a foreign file that holds several.")
@option("--allow-unsafe-globals", "allow_unsafe", is_flag=True, help="Read foreign files that name what attacks use.")
@option("--stat", "form", flag_value="stat", group="Form", help="One bar a tensor.")
@option("--name-only", "form", flag_value="name-only", group="Form", help="Names alone.")
@option("--name-status", "form", flag_value="name-status", group="Form", help="Names, each after M, A, D or R.")
@option("--md", "form", flag_value="md", group="Form", help="Markdown, for a comment.")
@option("--sort", type=click.Choice(["name", "change"]), group="Form", help="Tensors by name or by change.")
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
    form: str | None,
    sort: str | None,
) -> int:
    """Show what changed between two checkpoints."""
    names = form in ("name-only", "name-status")
    numbers = not (names or output.quiet) or output.as_json or rtol > 0 or atol > 0 or sort == "change"
    found = compare(
        a, b, only=only, ignore=ignore, rtol=rtol, atol=atol, numbers=numbers, key=key, allow_unsafe=allow_unsafe
    )
    weights = sort_weights(found.weights, sort or "")
    output.result({**found.to_dict(), "weights": [change.to_dict() for change in weights]})
    if names:
        show_names(output, found, weights, status=form == "name-status")
    else:
        show = {"stat": show_bars, "md": show_markdown}.get(form or "", show_diff)
        show(output, found, weights)
    return 0 if found.same else 1
