"""ckpt unpack: a run as it was."""

import click

from ckptfmt.share.pack import Archive, Unpacked, check
from ckptfmt.share.pack import unpack as unpack_run

from ..options import argument, command, option
from ..output import Output
from ..text import plural, size

__all__ = ["unpack"]


@command(
    examples=[
        "ckpt unpack pong.ckptpack runs/pong",
        "ckpt unpack pong.ckptpack best --only step-000000014000",
        "ckpt unpack pong.ckptpack --list",
        "ckpt unpack pong.ckptpack --check",
    ]
)
@argument("path", "A file that ckpt pack made.", metavar="FILE", type=click.Path())
@argument("dest", "The folder to write, which must not exist.", metavar="[DEST]", required=False, type=click.Path())
@option("--only", multiple=True, metavar="NAME", help="Unpack only this checkpoint or file of the run.")
@option("--list", "listed", is_flag=True, help="List the contents; write nothing.")
@option("--check", "checked", is_flag=True, help="Check every file against its digest; write nothing.")
def unpack(output: Output, path: str, dest: str | None, only: tuple[str, ...], listed: bool, checked: bool) -> int:
    """Unpack an archive that ckpt pack made, bit for bit."""
    if (dest is not None) + listed + checked != 1:
        raise click.UsageError("give DEST, or --list, or --check")
    if dest is None and only:
        raise click.UsageError("--only needs DEST")
    if listed:
        return _list(output, path)
    done = check(path) if dest is None else unpack_run(path, dest, only=only)
    output.result(done.to_dict())
    verb = f"wrote {dest}" if dest is not None else "every byte is as it was packed"
    output.line(f"{verb}: {plural(len(done.files), 'file')}, {size(done.bytes)}")
    return 0


def _list(output: Output, path: str) -> int:
    with Archive(path) as archive:
        found = Unpacked(path, "", archive.index.run, archive.index.files)
    output.result(found.to_dict())
    output.table([(file.path, size(file.bytes)) for file in found.files], right=[1])
    output.line(f"{found.run}: {plural(len(found.files), 'file')}, {size(found.bytes)}")
    return 0
