"""ckpt merge: of parts, a whole."""

import click

from ckptfmt.store.merge import merge as put_together

from ..complete import checkpoints
from ..options import argument, command, option, waiting
from ..output import Output
from ..text import plural, short_digest

__all__ = ["merge"]


@command(
    examples=[
        "ckpt merge runs/step-200 --out whole",
        "ckpt merge runs/step-200 --in-place",
        "ckpt merge runs/step-200 --dry-run",
    ]
)
@argument("path", "The checkpoint.", metavar="CHECKPOINT", shell_complete=checkpoints)
@option("--out", type=click.Path(), metavar="DIR", help="Write the whole checkpoint there.")
@option("--in-place", is_flag=True, help="Replace the checkpoint by the whole one.")
@option("--dry-run", is_flag=True, help="Print what would be done; write nothing.")
@waiting("the checkpoint")
def merge(output: Output, path: str, out: str | None, in_place: bool, dry_run: bool, wait: float) -> int:
    """Merge a checkpoint that lies in parts into whole files.

    Several processes that train together write a part each. Readers take both forms; the digest of the network is the
    same.
    """
    if in_place and out is not None:
        raise click.UsageError("--out and --in-place exclude each other")
    done = put_together(path, out, in_place=in_place, dry_run=dry_run, wait=wait)
    output.result(done.to_dict())
    if not done.parts:
        output.line(f"{done.path}  is whole: nothing to do")
        return 0
    output.line(f"{done.path}  {plural(done.parts, 'part')} -> {', '.join(done.files)}")
    output.line(output.paint(f"  weights unchanged ({short_digest(done.content_digest)})", "dim"))
    output.line("nothing written; run again without --dry-run" if dry_run else f"wrote {done.written}")
    return 0
