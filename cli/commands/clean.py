"""ckpt clean: what did writers that died leave here."""

import click

from ckptfmt.store.clean import Leftover, leftovers
from ckptfmt.store.clean import clean as remove

from ..options import argument, command, option
from ..output import Output
from ..text import plural, size

__all__ = ["clean"]

_KINDS = {
    "stage": "unfinished or replaced checkpoint",
    "old": "predecessor set aside",
    "lock": "lock",
    "owner": "lock",
}


@command(examples=["ckpt clean runs", "ckpt clean runs --force"])
@argument("path", "The folder to search, with its subfolders.", metavar="FOLDER", type=click.Path())
@option("--dry-run/--force", "dry_run", default=True, help="Only list them (the default), or remove them.")
def clean(output: Output, path: str, dry_run: bool) -> int:
    """List or remove what interrupted saves left behind.

    What a running program still uses is told by its lock, never by its age, and is left alone; so is everything
    that ckptfmt did not write. A checkpoint that an interrupted save had moved aside is put back.
    """
    found = leftovers(path) if dry_run else remove(path)
    output.result(
        {
            "path": path,
            "removed": any(left.state in ("removed", "restored") for left in found),
            "leftovers": [one.to_dict() for one in found],
        }
    )
    output.table([_row(left) for left in found], right=[1])
    dead = [left for left in found if not left.held_by and left.state != "kept"]
    verb = "to remove" if dry_run else "removed"
    output.line(f"{plural(len(dead), 'leftover')} {verb}, {size(sum(left.bytes for left in dead))}")
    if dry_run and dead:
        output.note(f"remove with: ckpt clean {path} --force")
    return 0


def _row(left: Leftover) -> tuple[str, str, str, str]:
    state = f"kept: {left.why}" if left.state == "kept" else left.state
    return left.path, size(left.bytes), _KINDS[left.kind], f"in use by {left.held_by}" if left.held_by else state
