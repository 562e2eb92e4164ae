"""ckpt pack: a whole run in one file."""

import click

from ckptfmt.share.pack import pack as pack_run

from ..options import argument, command, option
from ..output import Output
from ..text import plural, size

__all__ = ["pack"]


@command(examples=["ckpt pack runs/pong pong.ckptpack", "ckpt pack runs/pong pong.ckptpack --level 12"])
@argument("run", "The folder of a run: its checkpoints, traces and whatever else lies there.", type=click.Path())
@argument("path", "The file to make of it.", metavar="FILE", type=click.Path())
@option("--level", type=click.IntRange(1, 19), default=3, metavar="N", help="How hard zstd tries; 3 unless told.")
@option("--force", "overwrite", is_flag=True, help="Replace the file that is there.")
def pack(output: Output, run: str, path: str, level: int, overwrite: bool) -> int:
    """Pack a whole run into one file, to be kept.

    Checkpoints are stored as what changed since their parents where that takes less, equal tensors once. The file has
    its own digests: ckpt unpack gives every byte back, or one checkpoint without the others, and finds every flipped
    bit.
    """
    done = pack_run(run, path, level=level, overwrite=overwrite)
    output.result(done.to_dict())
    for name in done.left:
        output.warning(f"{name} is no plain file of the run and was left out")
    share = f" ({100 * done.stored / done.bytes:.1f} %)" if done.bytes else ""
    what = f"{plural(done.checkpoints, 'checkpoint')}, {plural(done.files, 'file')}"
    output.line(f"{run}: {what}, {size(done.bytes)} -> {size(done.stored)}{share}; read back, every byte")
    return 0
