"""ckpt compress: smaller, the same checkpoint."""

from functools import partial

import click

from ckptfmt.store.forms import compress as shrink

from ..complete import checkpoints
from ..forms import change_forms
from ..options import argument, command, option, waiting
from ..output import Output

__all__ = ["compress"]


@command(
    examples=["ckpt compress runs/step-200", "ckpt compress runs/* --all", "ckpt compress runs/step-200 --dry-run"]
)
@argument("paths", "The checkpoints.", nargs=-1, required=True, metavar="CHECKPOINT...", shell_complete=checkpoints)
@option("--all", "everything", is_flag=True, help="Compress the weights too, and every file that gets smaller at all.")
# As the program zstd has it. 9 makes a replay of Pong a third smaller, in four times the time.
@option("--level", type=click.IntRange(1, 19), default=3, metavar="N", help="Compression level of zstd [3].")
@option("--dry-run", is_flag=True, help="Print what would be done; write nothing.")
@waiting("the checkpoint")
def compress(output: Output, paths: tuple[str, ...], everything: bool, level: int, dry_run: bool, wait: float) -> int:
    """Compress checkpoints; their digests stay the same.

    Each file that becomes at least a tenth smaller is stored as zstd: in most checkpoints the training state and the
    replay buffer, whose frames can shrink to a hundredth. The manifest and all digests stay as they are, every
    command reads both forms, and zstd -d restores the plain file.
    """
    change = partial(shrink, everything=everything, level=level, dry_run=dry_run, wait=wait)
    idle = "no file gets smaller" if everything else "no file gets a tenth smaller"
    return change_forms(output, paths, change, idle=idle, dry_run=dry_run)
