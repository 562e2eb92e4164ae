"""An agent at play on the command line: watched, recorded, or evaluated and written down."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import click

from ckptfmt.rl.families.describe import describe
from ckptfmt.rl.film import filming
from ckptfmt.rl.play import Episode, Evaluation, play_episodes
from ckptfmt.rl.player import Player, add_evaluation, open_player
from ckptfmt.rl.protocol import PROTOCOLS, Protocol
from ckptfmt.rl.trace import TraceRecorder
from ckptfmt.store.write import require_update
from ckptfmt.store.write.newfile import require_new

from .output import Output
from .text import plural, size

__all__ = ["evaluate_checkpoint", "play_checkpoint"]


def play_checkpoint(output: Output, path: str, given: Mapping[str, Any]) -> int:
    """Play as the options of `ckpt play` say, and return the exit code."""
    mode = "rgb_array" if given["record"] or given["trace"] else "human" if given["render"] == "human" else None
    names = ("epsilon", "sampled", "max_frames", "max_steps")
    protocol = Protocol(**{name: given[name] for name in names})
    options = {name: given[name] for name in ("device", "game", "trust")}
    if given["trace"]:
        require_new(given["trace"], overwrite=given["force"])
    with (
        open_player(path, render_mode=mode, protocol=protocol, **options) as player,
        _film(player, given) as film,
    ):
        known = _known(player)
        # Before the games are played, which may take an hour.
        if given["expect"] and known is None:
            raise click.UsageError("--expect needs an evaluation in the manifest; make one with: ckpt evaluate")
        for line in describe(player.config).text().splitlines():
            output.line(line)
        output.line("")
        episodes, recorder = [], _recorder(player, given)
        for episode in _episodes(player, given, film, recorder):
            episodes.append(episode)
            _show_episode(output, len(episodes), episode)
            output.out.flush()
        evaluation = Evaluation(tuple(episodes), player.protocol)
        _show_total(output, evaluation, known)
        as_expected = _is_near(evaluation, known) if known and given["expect"] else None
        trace = _save(output, recorder, given)
    told = {"environment": player.environment.to_dict(), "as_expected": as_expected, "trace": trace}
    output.result({**evaluation.to_dict(), **told})
    return int(as_expected is False)


def evaluate_checkpoint(output: Output, path: str, given: Mapping[str, Any]) -> int:
    """Play as the options of `ckpt evaluate` say, write down what came of it, and return the exit code."""
    protocol = PROTOCOLS[given["protocol"]] if given["protocol"] else Protocol()
    limits = {name: given[name] for name in ("epsilon", "max_frames", "max_steps") if given[name] is not None}
    options = {name: given[name] for name in ("device", "game", "trust")}
    own = replace(protocol, sampled=given["sampled"], **limits)
    with open_player(path, protocol=own, **options) as player:
        if player.protocol.differs:
            output.note(f"differs from {player.protocol.name} in {', '.join(player.protocol.differs)}")
        if not given["dry_run"]:
            require_update(path)
        episodes = []
        for episode in _episodes(player, given):
            episodes.append(episode)
            _show_episode(output, len(episodes), episode)
            output.out.flush()
        evaluation = Evaluation(tuple(episodes), player.protocol)
        before = player.manifest
    _show_total(output, evaluation, None)
    after = before if given["dry_run"] else add_evaluation(path, evaluation, played=before)
    output.line("nothing written; run again without --dry-run" if given["dry_run"] else f"wrote {path}/manifest.json")
    told = {"written": not given["dry_run"], "manifest_digest": after.manifest_digest}
    output.result({**evaluation.to_dict(), **told})
    return 0


def _show_episode(output: Output, number: int, episode: Episode) -> None:
    """Write the line of one episode."""
    steps = f"{plural(episode.steps, 'step'):>13}"
    output.line(f"episode {number:<4}", f"{episode.total:>9,.1f}  ", steps)


def _show_total(output: Output, evaluation: Evaluation, known: dict[str, Any] | None) -> None:
    """Write the mean of all episodes, beside what the manifest says."""
    told = f"   (manifest says {known['mean']:,.1f} ± {known['std']:,.1f})" if known else ""
    count = plural(len(evaluation.episodes), "episode")
    output.line(f"{count}: {evaluation.mean:,.1f} ± {evaluation.std:,.1f}{told}")


def _recorder(player: Player, given: Mapping[str, Any]) -> TraceRecorder | None:
    if not given["trace"]:
        return None
    options = {"saliency": given["saliency"], "saliency_every": given["saliency_every"]}
    return TraceRecorder(player, steps=given["trace_steps"], **options)


def _save(output: Output, recorder: TraceRecorder | None, given: Mapping[str, Any]) -> dict[str, Any] | None:
    if recorder is None:
        return None
    written = recorder.save(given["trace"], overwrite=given["force"])
    output.line(f"{given['trace']}  {plural(recorder.steps, 'step')}, {size(written)}")
    return {"file": given["trace"], "steps": recorder.steps, "bytes": written}


def _film(player: Player, given: Mapping[str, Any]) -> contextlib.AbstractContextManager[Callable[[], None] | None]:
    if not given["record"]:
        return contextlib.nullcontext()
    return filming(player.env, given["record"], player.frame_skip, overwrite=given["force"])


def _episodes(
    player: Player,
    given: Mapping[str, Any],
    film: Callable[[], None] | None = None,
    watcher: TraceRecorder | None = None,
) -> Iterator[Episode]:
    return play_episodes(
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
        # Whoever wrote it: sums of larger numbers are infinite, and the comparison would always hold.
        if all(isinstance(entry.get(name), int | float) and abs(entry[name]) < 1e300 for name in ("mean", "std")):
            return dict(entry)
    return None


def _is_near(evaluation: Evaluation, known: Mapping[str, Any]) -> bool:
    return bool(abs(evaluation.mean - known["mean"]) <= known["std"])
