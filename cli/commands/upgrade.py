"""ckpt upgrade: to the newest format."""

import os
from functools import partial

import click

from ckptfmt.format.versions import NEWEST, is_newer
from ckptfmt.store.upgrade import Upgrade
from ckptfmt.store.upgrade import upgrade as raise_version

from ..complete import checkpoints
from ..failure import TROUBLE
from ..many import change_each
from ..options import argument, command, option
from ..output import Output
from ..text import short_digest

__all__ = ["upgrade"]


@command(
    examples=[
        "ckpt upgrade runs/* --dry-run",
        "ckpt upgrade runs/old --in-place",
        "ckpt upgrade runs/old --out upgraded",
    ]
)
@argument("paths", "The checkpoints.", metavar="CHECKPOINT...", nargs=-1, required=True, shell_complete=checkpoints)
@option("--in-place", is_flag=True, help="Replace each checkpoint by its upgrade.")
@option("--out", type=click.Path(), metavar="DIR", help="Write the upgrades into this folder, under the same names.")
@option("--to", metavar="VERSION", help="Which version of the format, instead of the newest.")
@option("--dry-run", is_flag=True, help="Print what would be done; write nothing.")
def upgrade(
    output: Output, paths: tuple[str, ...], in_place: bool, out: str | None, to: str | None, dry_run: bool
) -> int:
    """Upgrade checkpoints to the newest version of the format.

    Checkpoints of older versions stay readable without it. Version 1.1 is only for files in parts: all others are
    upgraded to 1.0. Only the manifest changes; the tensors and the digest of
    the network stay the same.
    """
    if in_place and out is not None:
        raise click.UsageError("--out and --in-place exclude each other")
    raise_one = partial(_upgrade, out=out, to=to, in_place=in_place, dry_run=dry_run)
    done, errors = change_each(output, paths, raise_one, lambda one: _tell(output, one, to, dry_run))
    told = [one.to_dict() for one in done]
    output.result(told[0] if len(paths) == 1 else {"checkpoints": told, "errors": errors})
    return TROUBLE if errors else 0


def _upgrade(path: str, *, out: str | None, to: str | None, in_place: bool, dry_run: bool) -> Upgrade:
    dest = None if out is None else os.path.join(out, os.path.basename(os.path.normpath(path)))
    return raise_version(path, dest, to=to, in_place=in_place, dry_run=dry_run)


def _tell(output: Output, done: Upgrade, to: str | None, dry_run: bool) -> None:
    if not done.steps:
        newer = f", newer than {NEWEST}, the newest known here" if is_newer(done.new) else ""
        parts = f"; {NEWEST} is only for files in parts" if to == NEWEST != done.new else ""
        output.line(f"{done.path}  {done.new}{newer}: nothing to do{parts}")
        return
    output.line(f"{done.path}  {done.old} -> {done.new}")
    for step in done.steps:
        for change in step.changes:
            output.line(f"  {step.old} -> {step.new}  {change}")
    output.line(f"weights unchanged ({short_digest(done.content_digest)})")
    output.line("nothing written; run again without --dry-run" if dry_run else f"wrote {done.written}")
