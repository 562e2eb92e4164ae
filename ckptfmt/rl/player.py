"""A network and the environment it plays in, from a checkpoint alone."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import imageio.v2 as imageio
import numpy as np
from torch import nn

from ckptfmt.convert.convert import convert
from ckptfmt.errors import CkptError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.format.manifest import Manifest
from ckptfmt.rl.described import parse_environment, refuse_untrusted
from ckptfmt.rl.envs.description import Env, Environment, is_atari, make_env
from ckptfmt.rl.load import load_open_checkpoint
from ckptfmt.rl.play import Evaluation
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import update_manifest

__all__ = ["Player", "Recorder", "add_evaluation", "open_player"]

_PIXELS = 255.0
_FRAMES_PER_SECOND = 60


@dataclass(frozen=True, slots=True)
class Player:
    """What `open_player` found; `scale` is what observations are divided by before the network sees them."""

    model: nn.Module
    config: ModelConfig
    env: Env
    environment: Environment
    scale: float
    manifest: Manifest


@contextmanager
def open_player(
    path: str | os.PathLike[str],
    *,
    device: str = "cpu",
    game: str | None = None,
    render_mode: str | None = None,
    trust: bool = False,
    **facts: Any,
) -> Iterator[Player]:
    """Give the network in a checkpoint or a legacy file, and the environment it was trained in.

    `game` is the gymnasium id where the file does not say it, and wins over what it says; `facts` are for
    `ckptfmt.convert`. What the file asks for beyond what its network needs is refused without `trust`. Raises
    `CkptError` where no environment is known or it does not fit the network.
    """
    with tempfile.TemporaryDirectory(prefix="ckptfmt-") as folder:
        place = os.fspath(path)
        if os.path.isfile(place):
            place = os.path.join(folder, "converted")
            convert(path, place, **facts)
        with Checkpoint(place) as checkpoint:
            environment, scale = _environment(checkpoint, game)
            if not trust and isinstance(checkpoint.config, ModelConfig):
                refuse_untrusted(environment.resolved(), checkpoint.config.input_shape, atari=is_atari(environment.id))
            env = make_env(environment, render_mode=render_mode, trusted=trust or game is not None)
            try:
                model, config, _ = load_open_checkpoint(checkpoint, device, env=env)
                if config is None:
                    raise CkptError("its architecture is unknown", where=checkpoint.path, code="config.unknown")
                yield Player(model, config, env, environment, scale, checkpoint.manifest)
            finally:
                env.close()


def add_evaluation(path: str | os.PathLike[str], evaluation: Evaluation) -> Manifest:
    """Write an evaluation into the manifest of a checkpoint; its other files are not touched."""
    return update_manifest(path, lambda manifest: _with(manifest, evaluation))


class Recorder:
    """Writes what an environment renders into an MP4, one frame each time it is called."""

    def __init__(self, env: Env, path: str | os.PathLike[str], frame_skip: int = 1) -> None:
        self._env = env
        fps = env.metadata.get("render_fps", _FRAMES_PER_SECOND) / max(1, frame_skip)
        try:
            self._writer = imageio.get_writer(os.fspath(path), format="FFMPEG", fps=fps, macro_block_size=2)
        except OSError as e:
            raise CkptError(f"cannot be written: {e}", where=os.fspath(path), code="record.file") from None

    def __call__(self) -> None:
        """Add the picture of now."""
        self._writer.append_data(np.asarray(self._env.render()))

    def close(self) -> None:
        """Finish the film."""
        self._writer.close()


def _with(manifest: Manifest, evaluation: Evaluation) -> Manifest:
    return replace(manifest, evaluation=(*manifest.evaluation, evaluation.to_dict()))


def _environment(checkpoint: Checkpoint, game: str | None) -> tuple[Environment, float]:
    """Return the description of the environment, and what its observations are divided by."""
    described = dict(parse_environment(checkpoint.manifest.environment))
    config = checkpoint.config
    inside = config.input_scale if config else 1.0
    # Where nobody says who brings the pixels into 0 to 1, a network that does not leaves it to the environment.
    outside = float(described.get("observation_scale", _PIXELS if inside == 1 else 1.0))
    if isinstance(described.get("id"), str):
        environment = Environment.from_dict({**described, **({"id": game} if game else {})})
        return environment, outside
    name = game or (config.game if config else None)
    if name is None or config is None:
        raise CkptError(
            "does not say which environment it plays",
            where=checkpoint.path,
            fix="name it with game=, for example ALE/Pong-v5",
            code="environment.unknown",
        )
    channels, height, width = config.input_shape
    return Environment(id=name, frame_stack=channels, screen_size=(width, height)), outside
