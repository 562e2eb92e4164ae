"""ckpt settle: measure what nothing says."""

from typing import Any

import click

from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output

__all__ = ["settle"]


@command(
    examples=[
        "ckpt settle converted/pong",
        "ckpt settle converted/pong --field input_scale --episodes 5",
        "ckpt settle converted/cartpole --game CartPole-v1 --dry-run",
    ]
)
@argument("path", "A checkpoint folder.", metavar="CHECKPOINT", shell_complete=checkpoints)
@option("--game", metavar="ID", help="The environment, if the checkpoint does not name one.")
@option(
    "--episodes", type=click.IntRange(min=3), default=20, metavar="N", help="Most episodes for each candidate [20]."
)
@option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the first episode [0].")
@option("--field", "fields", multiple=True, metavar="NAME", help="Measure this field alone; may be given again.")
@option("--max-steps", type=click.IntRange(min=1), metavar="N", help="End an episode after this many actions.")
@option("--trust", is_flag=True, help="Trust its maker: allow settings and environments beyond what its network needs.")
@option("--device", default="auto", metavar="NAME", help="cpu, cuda, or auto [auto].")
@option("--dry-run", is_flag=True, help="Play, but leave the manifest as it is.")
def settle(output: Output, path: str, **given: Any) -> int:
    """Find out by playing what a conversion had to assume."""
    # This import waits: the help needs no torch.
    from ..settling import settle_checkpoint

    return settle_checkpoint(output, path, given)
