"""ckpt pull: from a bucket or the hub to this machine."""

import click

from ckptfmt.remote.far import open_far
from ckptfmt.remote.url import is_url
from ckptfmt.share.pull import pull as pull_checkpoint

from ..options import argument, command, option, waiting
from ..output import Output
from ..text import plural, size

__all__ = ["pull"]


@command(
    examples=[
        "ckpt pull s3://bucket/pong/best runs/pong",
        "ckpt pull hf://owner/dqn-pong@main runs/pong",
        "ckpt pull https://example.org/pong/best runs/pong --force",
    ]
)
@argument("url", "Where from: s3:// gs:// az:// https:// or hf://OWNER/NAME[@REVISION].")
@argument("dest", "The folder to write.", type=click.Path())
@option("--force", "overwrite", is_flag=True, help="Replace a checkpoint that is there.")
@waiting("DEST")
def pull(output: Output, url: str, dest: str, overwrite: bool, wait: float) -> int:
    """Copy a checkpoint to this machine, verified as it arrives.

    Every file is held against the manifest before the folder gets its name.
    """
    # Only a bar needs to know how much there is; a server of files does not tell it at once.
    far = open_far(url) if is_url(url) and output.err.is_live else None
    total = sum(far.names().values()) if far is not None and far.can_list else 0
    with output.progress(total, "fetching") as bar:
        done = pull_checkpoint(url, dest, overwrite=overwrite, wait=wait, progress=bar.advance)
    output.result(done.to_dict())
    output.line("pulled   ", f"{done.url} -> {done.path}  {plural(len(done.files), 'file')}, {size(done.bytes)}")
    output.line("verified ", f"every byte; {done.content_digest}")
    return 0
