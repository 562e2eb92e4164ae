"""ckpt pack: a whole run in one file."""

import click

from ckptfmt.share.pack import pack as pack_run

from ..options import argument, command, option
from ..output import Output
from ..text import plural, size

__all__ = ["pack"]


@command(examples=["ckpt pack runs/pong pong.ckptpack", "ckpt pack runs/pong pong.ckptpack --level 12"])
@argument("run", "The folder of a run; everything in it is packed.", type=click.Path())
@argument("path", "The archive to write.", metavar="FILE", type=click.Path())
# As the program zstd has it; beyond 19 lie levels that take much more memory to unpack.
@option("--level", type=click.IntRange(1, 19), default=3, metavar="N", help="Compression level of zstd [3].")
@option("--force", "overwrite", is_flag=True, help="Replace the file that is there.")
def pack(output: Output, run: str, path: str, level: int, overwrite: bool) -> int:
    """Archive a whole run in one file.

    Equal tensors are stored once, and a checkpoint as its difference to its parent where that is smaller. ckpt unpack
    restores every byte, or a single checkpoint, and finds every flipped bit.
    """
    done = pack_run(run, path, level=level, overwrite=overwrite)
    output.result(done.to_dict())
    for name in done.left:
        output.warning(f"{name} is no plain file of the run and was left out")
    for name in done.damaged:
        output.warning(f"{name} is not what its manifest says and was packed as it is; look at it: ckpt validate")
    share = f" ({100 * done.stored / done.bytes:.1f} %)" if done.bytes else ""
    what = f"{plural(done.checkpoints, 'checkpoint')}, {plural(done.files, 'file')}"
    output.line(f"{run}: {what}, {size(done.bytes)} -> {size(done.stored)}{share}; read back, every byte")
    return 0
