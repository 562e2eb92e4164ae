"""ckpt decompress: plain again."""

from functools import partial

from ckptfmt.store.forms import decompress as expand

from ..complete import checkpoints
from ..forms import change_forms
from ..options import argument, command, option, waiting
from ..output import Output

__all__ = ["decompress"]


@command(examples=["ckpt decompress runs/step-200", "ckpt decompress runs/* --dry-run"])
@argument("paths", "The checkpoints.", nargs=-1, required=True, metavar="CHECKPOINT...", shell_complete=checkpoints)
@option("--dry-run", is_flag=True, help="Print what would be done; write nothing.")
@waiting("the checkpoint")
def decompress(output: Output, paths: tuple[str, ...], dry_run: bool, wait: float) -> int:
    """Undo ckpt compress.

    Every file is restored byte for byte.
    """
    change = partial(expand, dry_run=dry_run, wait=wait)
    return change_forms(output, paths, change, idle="no file is compressed", dry_run=dry_run)
