"""ckpt play: watch it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from ckptfmt.rl.families.describe import describe
from ckptfmt.rl.play import Episode, Evaluation, play_episodes
from ckptfmt.rl.player import Player, Recorder, open_player
from ckptfmt.rl.protocol import Protocol
from ckptfmt.rl.trace import SALIENCIES, TraceRecorder

from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output
from ..text import plural, size

__all__ = ["play", "show_episode", "show_total"]

_TRACE = "A trace of it"


@command(
    examples=[
        "ckpt play runs/breakout-042 --episodes 5 --seed 7",
        "ckpt play runs/breakout-042 --record breakout.mp4 --episodes 1",
        "ckpt play runs/breakout-042 --trace breakout.trace --episodes 1",
        "ckpt play dqn_best.pth --game ALE/Breakout-v5",
    ]
)
@argument("path", "A checkpoint folder, or a legacy file.", metavar="CHECKPOINT", shell_complete=checkpoints)
@option("--episodes", type=click.IntRange(min=1), default=10, metavar="N", help="How many episodes.")
@option("--epsilon", type=click.FloatRange(0, 1), default=0.0, metavar="X", help="Probability of a random action.")
@option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the first episode.")
@option(
    "--max-frames",
    type=click.IntRange(min=1),
    default=108_000,
    metavar="N",
    help="End an episode after this many frames.",
)
@option("--max-steps", type=click.IntRange(min=1), metavar="N", help="End an episode after this many actions.")
@option("--game", metavar="ID", help="The environment, if the file does not name one.")
@option("--trust", is_flag=True, help="Trust what the checkpoint asks for beyond what its network needs.")
@option("--device", default="auto", metavar="NAME", help="cpu, cuda, or auto [auto].")
@option("--render", type=click.Choice(["human", "none"]), default="none", help="Show it in a window.")
@option("--record", type=click.Path(), metavar="FILE", help="Write an MP4 of it.")
@option("--trace", type=click.Path(), metavar="FILE", group=_TRACE, help="Record frames, actions and network outputs.")
@option(
    "--trace-steps",
    type=click.IntRange(min=1, max=100_000),
    default=1000,
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
    default=4,
    metavar="N",
    group=_TRACE,
    help="Make such a map every N steps [4].",
)
@option("--force", is_flag=True, group=_TRACE, help="Replace an existing trace.")
@option("--expect", is_flag=True, help="Exit 1 if the mean is outside the manifest's mean ± deviation.")
def play(output: Output, path: str, **given: Any) -> int:
    """Play episodes with the network of a checkpoint."""
    if given["render"] == "human" and (given["record"] or given["trace"]):
        raise click.UsageError("--render human excludes --record and --trace")
    mode = "rgb_array" if given["record"] or given["trace"] else "human" if given["render"] == "human" else None
    protocol = Protocol(epsilon=given["epsilon"], max_frames=given["max_frames"], max_steps=given["max_steps"])
    options = {name: given[name] for name in ("device", "game", "trust")}
    with open_player(path, render_mode=mode, protocol=protocol, **options) as player:
        for line in describe(player.config).text().splitlines():
            output.line(line)
        output.line("")
        episodes, recorder = [], _recorder(player, given)
        for episode in _episodes(player, given, recorder):
            episodes.append(episode)
            show_episode(output, len(episodes), episode)
            output.out.flush()
        evaluation = Evaluation(tuple(episodes), player.protocol)
        known = _known(player)
        show_total(output, evaluation, known)
        as_expected = _as_expected(evaluation, known) if given["expect"] else None
        trace = _save(output, recorder, given)
    told = {"environment": player.environment.to_dict(), "as_expected": as_expected, "trace": trace}
    output.result({**evaluation.to_dict(), **told})
    return int(as_expected is False)


def show_episode(output: Output, number: int, episode: Episode) -> None:
    """Write the line of one episode."""
    steps = f"{plural(episode.steps, 'step'):>13}"
    output.line(f"episode {number:<4}", f"{episode.total:>9,.1f}  ", steps)


def show_total(output: Output, evaluation: Evaluation, known: dict[str, Any] | None) -> None:
    """Write the mean of all episodes, beside what the manifest says."""
    told = f"   (manifest says {known['mean']:,.1f} ± {known['std']:,.1f})" if known else ""
    count = plural(len(evaluation.episodes), "episode")
    output.line(f"{count}: {evaluation.mean:,.1f} ± {evaluation.std:,.1f}{told}")


def _recorder(player: Player, given: dict[str, Any]) -> TraceRecorder | None:
    if not given["trace"]:
        return None
    options = {"saliency": given["saliency"], "saliency_every": given["saliency_every"]}
    return TraceRecorder(player, steps=given["trace_steps"], **options)


def _save(output: Output, recorder: TraceRecorder | None, given: dict[str, Any]) -> dict[str, Any] | None:
    if recorder is None:
        return None
    written = recorder.save(given["trace"], overwrite=given["force"])
    output.line(f"{given['trace']}  {plural(recorder.steps, 'step')}, {size(written)}")
    return {"file": given["trace"], "steps": recorder.steps, "bytes": written}


def _episodes(player: Player, given: dict[str, Any], watcher: TraceRecorder | None) -> Iterator[Episode]:
    with contextlib.ExitStack() as stack:
        film = None
        if given["record"]:
            film = Recorder(player.env, given["record"], player.frame_skip)
            stack.callback(film.close)
        yield from play_episodes(
            player.model,
            player.env,
            player.protocol,
            episodes=given["episodes"],
            seed=given["seed"],
            frame_skip=player.frame_skip,
            on_step=film,
            watcher=watcher,
        )


def _known(player: Player) -> dict[str, Any] | None:
    """Return the last evaluation of the manifest that can be compared with."""
    for entry in reversed(player.manifest.evaluation):
        if all(isinstance(entry.get(name), int | float) and abs(entry[name]) < 1e300 for name in ("mean", "std")):
            return dict(entry)
    return None


def _as_expected(evaluation: Evaluation, known: dict[str, Any] | None) -> bool:
    if known is None:
        raise click.UsageError("--expect needs an evaluation in the manifest; make one with: ckpt evaluate")
    return bool(abs(evaluation.mean - known["mean"]) <= known["std"])
