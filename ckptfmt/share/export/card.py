"""The model card of a hub: what the network is, how well it plays and by which protocol, and how it is played.

Its head is YAML. Every value in it is written as JSON, which is YAML too, so no text of a manifest is anything else.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.format.markdown import code_span
from ckptfmt.look.figures import evaluation_points, training_step
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["FILM", "PICTURE", "card"]

FILM = "replay.mp4"
PICTURE = "filters.png"
_TASK = "reinforcement-learning"
# What a protocol says of itself that a reader asks for first.
_PROTOCOL = (
    "name", "epsilon", "sampled", "sticky_actions", "max_frames", "max_steps", "whole_games", "noop_max", "fire_reset",
    "full_action_space",
)  # fmt: skip


def card(checkpoint: Checkpoint, name: str, *, film: bool, picture: bool) -> str:
    """Return the text of README.md for a checkpoint that is called `name`."""
    head = _block(_metadata(checkpoint))
    return "\n".join(["---", head, "---", "", *_body(checkpoint, name, film, picture)]) + "\n"


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    manifest = checkpoint.manifest
    architecture = manifest.architecture
    game, network = _game(checkpoint), architecture.name if architecture else "network"
    tags = [*filter(None, (game, network)), "deep-reinforcement-learning", _TASK, "ckptfmt"]
    told: dict[str, Any] = {"library_name": "ckptfmt", "tags": list(dict.fromkeys(tags)), "pipeline_tag": _TASK}
    points = evaluation_points(manifest.evaluation)
    if game and points:
        _, mean, spread = points[-1]
        result = {
            "task": {"type": _TASK, "name": _TASK},
            "dataset": {"name": game, "type": game},
            "metrics": [
                {
                    "type": "mean_reward",
                    # The form that the hub's leaderboards of reinforcement learning read.
                    "value": f"{mean:.2f} +/- {spread:.2f}",
                    "name": "mean_reward",
                    "verified": False,
                }
            ],
        }
        told["model-index"] = [{"name": network, "results": [result]}]
    return told


def _block(told: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=True)}" for name, value in told.items())


def _game(checkpoint: Checkpoint) -> str:
    config = checkpoint.manifest.config
    game = checkpoint.manifest.environment.get("id") or (config.get("game") if config else None)
    return printable(game, 80) if isinstance(game, str) else ""


def _body(checkpoint: Checkpoint, name: str, film: bool, picture: bool) -> Iterator[str]:
    manifest = checkpoint.manifest
    architecture, game = manifest.architecture, _game(checkpoint)
    network = code_span(architecture.title, 120) if architecture else "a network"
    yield f"# {network}{f' on {code_span(game, 120)}' if game else ''}"
    yield ""
    tensors = manifest.weights.tensors
    steps = training_step(manifest.training_info)
    yield f"A checkpoint of ckptfmt: {len(tensors):,} tensors"
    yield f"of the family {code_span(architecture.family if architecture else 'unknown', 120)}" + (
        f", trained for {steps:,.0f} steps." if steps is not None else "."
    )
    yield f"Its content is `{manifest.content_digest}`; `ckpt validate hf://OWNER/NAME` holds every byte against that."
    if film:
        yield from ("", f"[A film of it at play]({FILM})")
    if picture:
        yield from ("", f"![The filters of its first layer]({PICTURE})")
    yield from _results(manifest.evaluation)
    yield from ("", "## Play it", "", "```bash", 'pip install "ckptfmt[rl,remote,hub]"')
    yield from (f"ckpt pull hf://OWNER/{name} {name}", f"ckpt play {name}", "```")
    yield from ("", "```python", "import ckptfmt", "")
    yield f'model, config, info = ckptfmt.load_model_checkpoint("hf://OWNER/{name}")'
    yield from ("", "from ckptfmt.rl.hub import Agent  # a PyTorchModelHubMixin", "")
    yield from (f'agent = Agent.from_pretrained("OWNER/{name}", strict=True)', "```")


def _results(evaluations: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    if not (points := evaluation_points(evaluations)):
        return
    last = evaluations[-1]
    _, mean, spread = points[-1]
    episodes = last.get("episodes")
    count = len(episodes) if isinstance(episodes, list | tuple) else None
    yield from ("", "## Results", "", "| | |", "|---|---|", f"| mean return | {mean:.2f} ± {spread:.2f} |")
    if count:
        yield f"| episodes | {count} |"
    protocol = last.get("protocol")
    for field in _PROTOCOL if isinstance(protocol, Mapping) else ():
        if (value := protocol.get(field)) is not None:  # type: ignore[union-attr]
            yield f"| {field} | {code_span(value, 120)} |"
