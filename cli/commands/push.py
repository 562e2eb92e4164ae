"""ckpt push: into a bucket or to the hub."""

import os
from typing import Any

import click

from ckptfmt.errors import CkptError
from ckptfmt.share.push import Pushed, push_all
from ckptfmt.share.push import push as push_checkpoint

from ..complete import checkpoints
from ..failure import TROUBLE
from ..options import argument, command, option
from ..output import Output
from ..text import plural, size

__all__ = ["push"]


@command(
    examples=[
        "ckpt push runs/pong/best s3://bucket/pong/best",
        "ckpt push runs/pong s3://bucket/pong --all",
        'ckpt push export/pong hf://owner/dqn-pong --message "Pong, 10 M frames"',
    ]
)
@argument("path", "A checkpoint; with --all, the folder of a run.", type=click.Path(), shell_complete=checkpoints)
@argument("url", "Where to: s3:// gs:// az:// or hf://OWNER/NAME[@BRANCH].")
@option("--all", "everything", is_flag=True, help="Push every checkpoint of a run.")
@option("--force", "overwrite", is_flag=True, help="Take over an unfinished upload; on the hub, replace a checkpoint.")
@option("--message", default="", metavar="TEXT", help="Message of the commit on the hub.")
@option("--private", is_flag=True, help="Make a new repository on the hub private.")
@option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
def push(
    output: Output,
    path: str,
    url: str,
    everything: bool,
    overwrite: bool,
    message: str,
    private: bool,
    dry_run: bool,
) -> int:
    """Copy a checkpoint into a bucket or to the hub.

    It arrives whole or not at all. Keys are taken from the environment or from the files of the provider's own tools.
    A checkpoint in a bucket is never replaced.
    """
    options: dict[str, Any] = {"overwrite": overwrite, "message": message, "private": private, "dry_run": dry_run}
    # Only a bar needs to know how much there is.
    with output.progress(_bytes(path) if output.err.is_live else 0, "sending") as bar:
        done: list[Pushed | CkptError]
        if everything:
            done = list(push_all(path, url, progress=bar.advance, **options))
        else:
            done = [push_checkpoint(path, url, progress=bar.advance, **options)]
    pushed = [one for one in done if isinstance(one, Pushed)]
    for one in pushed:
        _show(output, one)
    failed = [one for one in done if isinstance(one, CkptError)]
    for error in failed:
        output.error(error)
    output.result({"checkpoints": [one.to_dict() for one in pushed], "errors": [error.to_dict() for error in failed]})
    if everything and not done:
        raise CkptError("holds no checkpoint", where=path, fix="name the folder of a run", code="manager.empty")
    return TROUBLE if failed else 0


def _show(output: Output, done: Pushed) -> None:
    words = {"pushed": "pushed", "unchanged": "there", "planned": "would push"}
    files = f"{plural(len(done.files), 'file')}, {size(done.bytes)}"
    output.line(f"{words[done.status]:<10} ", f"{done.path} -> {done.url}  {files}")
    if done.commit:
        output.line("commit      ", done.commit)


def _bytes(path: str) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            place = os.path.join(folder, name)
            total += os.stat(place).st_size if os.path.isfile(place) else 0
    return total
