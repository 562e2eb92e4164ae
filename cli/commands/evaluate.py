"""ckpt evaluate: how well does it play, written down."""

import os
from typing import Any

import click

from ckptfmt.rl.protocol import PROTOCOLS

from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output
from ..ranges import Number

__all__ = ["evaluate"]


@command(
    examples=[
        "ckpt evaluate runs/breakout-042 --episodes 100",
        "ckpt evaluate runs/breakout-042 --protocol mnih-2015",
        "ckpt evaluate runs/breakout-042 --dry-run",
    ]
)
@argument("path", "A checkpoint folder.", metavar="CHECKPOINT", shell_complete=checkpoints)
@option("--episodes", type=click.IntRange(min=1), default=30, metavar="N", help="How many episodes [30].")
@option(
    "--protocol", type=click.Choice(list(PROTOCOLS)), help="Evaluation protocol, named for the paper that describes it."
)
@option(
    "--epsilon",
    type=Number(0, 1),
    metavar="X",
    help="Probability of a random action [0.001 of value networks, else 0].",
)
@option("--sampled", is_flag=True, help="Draw actions from the distribution of a policy.")
@option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the first episode [0].")
@option("--max-frames", type=click.IntRange(min=1), metavar="N", help="End an episode after this many frames [108000].")
@option("--max-steps", type=click.IntRange(min=1), metavar="N", help="End an episode after this many actions.")
@option("--game", metavar="ID", help="The environment, if the checkpoint does not name one.")
@option("--trust", is_flag=True, help="Trust its maker: allow settings and environments beyond what its network needs.")
@option("--device", default="auto", metavar="NAME", help="cpu, cuda, or auto [auto].")
@option("--dry-run", is_flag=True, help="Play, but leave the manifest as it is.")
def evaluate(output: Output, path: str, **given: Any) -> int:
    """Play episodes and record their returns in the manifest."""
    if os.path.isfile(path):
        raise click.UsageError(f"{path} is a file; make a checkpoint of it with: ckpt convert {path} OUT")
    # This import waits: the help needs no torch.
    from ..playing import evaluate_checkpoint

    return evaluate_checkpoint(output, path, given)
