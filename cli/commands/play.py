"""ckpt play: watch it."""

from typing import Any

import click

from ckptfmt.look.trace import SALIENCIES

from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output
from ..ranges import Number

__all__ = ["play"]

_TRACE = "A trace of it"
_STEPS = 1000
_EVERY = 4


@command(
    examples=[
        "ckpt play runs/breakout-042 --episodes 5 --seed 7",
        "ckpt play runs/breakout-042 --record breakout.mp4 --episodes 1",
        "ckpt play runs/breakout-042 --trace breakout.trace --episodes 1",
        "ckpt play dqn_best.pth --game ALE/Breakout-v5",
    ]
)
@argument("path", "A checkpoint folder, or a legacy file.", metavar="CHECKPOINT", shell_complete=checkpoints)
@option("--episodes", type=click.IntRange(min=1), default=10, metavar="N", help="How many episodes [10].")
@option("--epsilon", type=Number(0, 1), default=0.0, metavar="X", help="Probability of a random action [0].")
@option("--sampled", is_flag=True, help="Draw actions from the distribution of a policy.")
@option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the first episode [0].")
@option(
    "--max-frames",
    type=click.IntRange(min=1),
    # Half an hour at 60 frames a second, as evaluations of the literature end (Hessel et al. 2018).
    default=108_000,
    metavar="N",
    help="End an episode after this many frames [108000].",
)
@option("--max-steps", type=click.IntRange(min=1), metavar="N", help="End an episode after this many actions.")
@option("--game", metavar="ID", help="The environment, if the file does not name one.")
@option("--trust", is_flag=True, help="Trust its maker: allow settings and environments beyond what its network needs.")
@option("--device", default="auto", metavar="NAME", help="cpu, cuda, or auto [auto].")
@option("--render", type=click.Choice(["human", "none"]), default="none", help="Show it in a window.")
@option("--record", type=click.Path(), metavar="FILE", help="Write an MP4 of it.")
@option("--force", is_flag=True, help="Replace an existing film or trace.")
@option("--trace", type=click.Path(), metavar="FILE", group=_TRACE, help="Record frames, actions and network outputs.")
@option(
    "--trace-steps",
    type=click.IntRange(min=1, max=100_000),
    default=_STEPS,
    metavar="N",
    group=_TRACE,
    help="Stop recording after this many steps [1000].",
)
@option(
    "--saliency",
    type=click.Choice(SALIENCIES),
    default="gradient",
    group=_TRACE,
    help="How to map which pixels the chosen action depends on [gradient].",
)
@option(
    "--saliency-every",
    type=click.IntRange(min=1),
    default=_EVERY,
    metavar="N",
    group=_TRACE,
    help="Make a saliency map every N steps [4].",
)
@option("--expect", is_flag=True, help="Exit 1 if the mean is outside the manifest's mean ± deviation.")
def play(output: Output, path: str, **given: Any) -> int:
    """Play episodes with the network of a checkpoint."""
    if given["render"] == "human" and (given["record"] or given["trace"]):
        raise click.UsageError("--render human excludes --record and --trace")
    if not given["trace"] and (given["saliency_every"], given["trace_steps"]) != (_EVERY, _STEPS):
        raise click.UsageError("--saliency-every and --trace-steps need --trace FILE")
    # This import waits: the help needs no torch.
    from ..playing import play_checkpoint

    return play_checkpoint(output, path, given)
