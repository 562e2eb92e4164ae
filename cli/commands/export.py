"""ckpt export: take it elsewhere."""

import click

from ckptfmt.share.export import TARGETS
from ckptfmt.share.export import export as export_checkpoint

from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output
from ..text import size

__all__ = ["export"]


@command(
    examples=[
        "ckpt export runs/pong/best dqn_pong.zip --to sb3",
        "ckpt export runs/ant/best agent.zip --to sb3 --algorithm A2C",
        "ckpt export runs/pong/best pong.onnx --to onnx --check",
        "ckpt export runs/pong/best dqn-pong --to hub",
    ]
)
@argument("path", "A checkpoint.", metavar="CHECKPOINT", type=click.Path(), shell_complete=checkpoints)
@argument("dest", "The file to write; for hub and dcp, the folder.", type=click.Path())
@option("--to", required=True, type=click.Choice(TARGETS), help="The library or format to export to.")
@option(
    "--algorithm",
    default="",
    metavar="NAME",
    help="With sb3, where several have such a network: PPO, A2C or TRPO; DDPG or TD3.",
)
@option("--force", "overwrite", is_flag=True, help="Replace a file that is there.")
@option(
    "--check/--no-check",
    "check",
    default=None,
    help="Load the result with that library and compare outputs; done if it is installed.",
)
def export(output: Output, path: str, dest: str, to: str, algorithm: str, overwrite: bool, check: bool | None) -> int:
    """Export the network of a checkpoint for another library.

    If the other library has no such network, nothing is written.
    """
    made = export_checkpoint(path, dest, to=to, algorithm=algorithm, overwrite=overwrite, check=check)
    output.result(made.to_dict())
    output.line(f"{made.to:<9}", made.summary)
    output.line("loads    ", made.loads_with)
    output.line("checked  ", made.checked or "no: the library is not installed, or --no-check was given")
    if made.left_out:
        output.line("left out ", ", ".join(made.left_out))
    if made.anew:
        output.line("anew     ", ", ".join(made.anew))
    output.line("wrote    ", f"{dest}  {size(made.bytes)}")
    return 0
