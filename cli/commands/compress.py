"""ckpt compress: smaller, the same checkpoint."""

from functools import partial

import click

from ckptfmt.store.forms import compress as shrink

from ..complete import checkpoints
from ..forms import change_forms
from ..options import argument, command, option
from ..output import Output

__all__ = ["compress"]


@command(
    examples=["ckpt compress runs/step-200", "ckpt compress runs/* --all", "ckpt compress runs/step-200 --dry-run"]
)
@argument("paths", "The checkpoints.", nargs=-1, required=True, metavar="P...", shell_complete=checkpoints)
@option("--all", "everything", is_flag=True, help="The weights too, and whatever gets smaller at all.")
@option(
    "--level", type=click.IntRange(1, 19), default=3, metavar="N", help="How hard zstd tries, 1 to 19; 3 unless told."
)
@option("--dry-run", is_flag=True, help="Say what would be done, write nothing.")
@option("--wait", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Wait for another writer of P.")
def compress(output: Output, paths: tuple[str, ...], everything: bool, level: int, dry_run: bool, wait: float) -> int:
    """Store checkpoints compressed, their identity unchanged.

    Each file that gets a tenth smaller by it is stored as zstd: of most checkpoints the state and the replay buffer,
    whose frames shrink to a hundredth. The manifest and every digest stay as they are, every command reads either
    form, and zstd -d gives the plain file back.
    """
    change = partial(shrink, everything=everything, level=level, dry_run=dry_run, wait=wait)
    idle = "no file gets smaller" if everything else "no file gets a tenth smaller"
    return change_forms(output, paths, change, idle=idle, dry_run=dry_run)
