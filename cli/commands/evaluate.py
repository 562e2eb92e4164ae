"""ckpt evaluate: how well does it play, written down."""

import os
from typing import Any

import click

from ckptfmt.rl.play import Evaluation, play_episodes
from ckptfmt.rl.player import add_evaluation, open_player

from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output
from .play import show_episode, show_total

__all__ = ["evaluate"]


@command(examples=["ckpt evaluate runs/breakout-042 --episodes 100", "ckpt evaluate runs/breakout-042 --dry-run"])
@argument("path", "A checkpoint folder.", metavar="P", shell_complete=checkpoints)
@option("--episodes", type=click.IntRange(min=1), default=30, metavar="N", help="How many episodes.")
@option("--epsilon", type=click.FloatRange(0, 1), default=0.001, metavar="X", help="Share of random actions.")
@option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the first episode.")
@option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Cut episodes after so many actions.")
@option("--game", metavar="ID", help="The environment, where the checkpoint does not name it.")
@option("--trust", is_flag=True, help="Let the checkpoint ask for more than its network needs.")
@option("--device", default="auto", metavar="NAME", help="cpu, cuda, or auto.")
@option("--dry-run", is_flag=True, help="Play, but leave the manifest as it is.")
def evaluate(output: Output, path: str, **given: Any) -> int:
    """Play episodes and write the returns into the manifest."""
    if os.path.isfile(path):
        raise click.UsageError(f"{path} is a file; make a checkpoint of it with: ckpt convert {path} OUT")
    names = ("episodes", "epsilon", "seed", "max_steps")
    with open_player(path, device=given["device"], game=given["game"], trust=given["trust"]) as player:
        episodes = []
        for episode in play_episodes(
            player.model, player.env, scale=player.scale, **{name: given[name] for name in names}
        ):
            episodes.append(episode)
            show_episode(output, len(episodes), episode)
            output.out.flush()
        evaluation = Evaluation(tuple(episodes), given["epsilon"], given["max_steps"])
        before = player.manifest
    show_total(output, evaluation, None)
    digest = before.manifest_digest if given["dry_run"] else add_evaluation(path, evaluation).manifest_digest
    output.result({**evaluation.to_dict(), "written": not given["dry_run"], "manifest_digest": digest})
    return 0
