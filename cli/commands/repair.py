"""ckpt repair: make it whole again."""

import click

from ckptfmt.errors import printable
from ckptfmt.store.repair import repair as mend

from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output
from ..text import plural

__all__ = ["repair"]


@command(
    examples=[
        "ckpt repair runs/step-200 --from runs/step-190",
        "ckpt repair runs/no-manifest runs/rebuilt",
        "ckpt repair runs/step-200 --from runs/step-190 --in-place",
    ]
)
@argument("path", "The damaged checkpoint.", metavar="P", shell_complete=checkpoints)
@argument("dest", "Where the whole one goes; P-repaired without it.", metavar="[DEST]", required=False)
@option("--from", "siblings", multiple=True, type=click.Path(), metavar="P", help="Take damaged tensors from here.")
@option("--in-place", is_flag=True, help="Replace P itself.")
@option("--dry-run", is_flag=True, help="Say what would be done, write nothing.")
def repair(
    output: Output, path: str, dest: str | None, siblings: tuple[str, ...], in_place: bool, dry_run: bool
) -> int:
    """Make a whole checkpoint of a damaged one.

    Only what can be proved is done: a damaged tensor is taken from another checkpoint that holds a tensor of the
    very digest the manifest names. A manifest that is lost or damaged is made anew from the weights, and marked
    as rebuilt.
    """
    if dest is not None and in_place:
        raise click.UsageError("DEST and --in-place exclude each other")
    done = mend(path, dest, siblings=siblings, in_place=in_place, dry_run=dry_run)
    output.result(done.to_dict())
    for name, sibling in done.restored.items():
        output.line(output.sign("changed"), " ", output.paint(printable(name), "bold"), f"  from {sibling}")
    if done.rebuilt:
        output.line(f"manifest rebuilt: {done.rebuilt}; architecture {done.architecture or 'unknown'}")
        output.line(f"{plural(len(done.unproved), 'tensor')} that nothing proves to be what they were")
    if done.written:
        output.line(f"wrote {done.written}")
    elif not done.restored and not done.rebuilt:
        output.line("every byte is as the manifest says, nothing to repair")
    return 0
