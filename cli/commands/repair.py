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
@argument("path", "The damaged checkpoint.", metavar="CHECKPOINT", shell_complete=checkpoints)
@argument("dest", "Folder for the repaired checkpoint [CHECKPOINT-repaired].", metavar="[DEST]", required=False)
@option(
    "--from",
    "siblings",
    multiple=True,
    type=click.Path(),
    metavar="CHECKPOINT",
    help="A checkpoint that may hold intact copies of the damaged tensors.",
)
@option("--in-place", is_flag=True, help="Replace the damaged checkpoint.")
@option("--dry-run", is_flag=True, help="Print what would be done; write nothing.")
def repair(
    output: Output, path: str, dest: str | None, siblings: tuple[str, ...], in_place: bool, dry_run: bool
) -> int:
    """Repair a damaged checkpoint, from intact ones of the same run.

    A damaged tensor is replaced only by one with the digest that the manifest names, taken from another checkpoint.
    A lost or damaged manifest is rebuilt from the files and what it still says, and marked as rebuilt. In place
    nothing is removed that the result does not hold.
    """
    if dest is not None and in_place:
        raise click.UsageError("DEST and --in-place exclude each other")
    done = mend(path, dest, siblings=siblings, in_place=in_place, dry_run=dry_run)
    output.result(done.to_dict())
    for name, sibling in done.restored.items():
        output.line(output.sign("changed"), " ", output.paint(printable(name), "bold"), f"  from {sibling}")
    if done.rebuilt:
        output.line(f"manifest rebuilt: {done.rebuilt}; architecture {done.architecture or 'unknown'}")
        output.line(f"{plural(len(done.unproved), 'tensor')} without a digest to hold them against")
        if done.lost:
            output.line(f"lost from the old manifest: {', '.join(map(printable, done.lost))}")
    if done.written:
        output.line(f"wrote {done.written}")
    elif not done.restored and not done.rebuilt:
        output.line("every byte is as the manifest says, nothing to repair")
    return 0
