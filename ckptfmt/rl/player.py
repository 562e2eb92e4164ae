"""A network and the environment it plays in, from a checkpoint alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Unpack

from gymnasium.error import DependencyNotInstalled
from torch import nn

from ckptfmt.convert.unwritten import convert_in_memory
from ckptfmt.errors import CkptError
from ckptfmt.families.config import Config
from ckptfmt.families.facts import Reading
from ckptfmt.families.spaces import is_agent
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.record import record
from ckptfmt.rl.acting import explores
from ckptfmt.rl.described import parse_environment, refuse_untrusted
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.make import Env, is_atari, make_env, resolve
from ckptfmt.rl.load import Opened, load_open_checkpoint, unknown_network
from ckptfmt.rl.play import Evaluation
from ckptfmt.rl.protocol import Protocol
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import update_manifest
from ckptfmt.store.write.expected import changed_since

__all__ = ["Player", "add_evaluation", "observation_scale", "open_player", "require_same_network"]

# The greatest value of a pixel: divided by it, pixels lie in 0 to 1.
_PIXELS = 255.0
# All actions of the Arcade Learning Environment.
_ALL_ACTIONS = 18


@record
class Player:
    """What `open_player` found; observations of `env` are divided as `environment` says.

    `environment` is what is played, and `protocol` how, with all that it leaves open filled in.
    """

    path: str
    model: nn.Module
    config: Any
    env: Env
    environment: Environment
    manifest: Manifest
    protocol: Protocol

    @property
    def frame_skip(self) -> int:
        """Return how many frames of the game an action lasts."""
        return self.environment.frame_skip or 1


@contextmanager
def open_player(
    path: str | os.PathLike[str],
    *,
    device: str = "cpu",
    game: str | None = None,
    protocol: Protocol | None = None,
    render_mode: str | None = None,
    trust: bool = False,
    raw: bool = False,
    **facts: Unpack[Reading],
) -> Iterator[Player]:
    """Give the network in a checkpoint or a legacy file, and the environment it was trained in.

    `game` is the gymnasium id where the file does not say it, and wins over what it says; `protocol` decides how
    it is played; `facts` are for `ckptfmt.convert`. What the file asks for beyond what its network needs is refused
    without `trust`. With `raw` pixels stay as the environment gives them, where nothing is said of their
    scale. Raises `CkptError` where no environment is known or it does not fit the network.
    """
    with _opened(path, facts) as checkpoint:
        config = checkpoint.config
        # Before anything is made that the file asks for.
        if config is None:
            raise unknown_network(checkpoint)
        if not is_agent(config):
            raise CkptError(
                f"is a network of the family {config.family}, which values and chooses no actions",
                where=checkpoint.path,
                fix="give a checkpoint that holds a policy or values of each action",
                code="environment.unfit",
            )
        trained = _environment(checkpoint, game)
        if raw and "observation_scale" not in checkpoint.manifest.environment:
            trained = replace(trained, observation_scale=1.0)
        environment, followed = _follow(protocol or Protocol(), trained, config)
        if not trust:
            refuse_untrusted(environment, config.input_shape, atari=is_atari(environment.id))
        env = make_env(environment, render_mode=render_mode, trusted=trust or game is not None)
        try:
            model, config, _ = load_open_checkpoint(checkpoint, device, env=env)
            followed = replace(followed, epsilon=followed.chance(explores(model)))
            yield Player(os.fspath(path), model, config, env, environment, checkpoint.manifest, followed)
        except DependencyNotInstalled as e:
            said = str(e).partition(", run")[0]
            fix = "install it, or play without pictures"
            raise CkptError(
                f"{environment.id} cannot be shown: {said}", where="env", fix=fix, code="install.missing"
            ) from e
        finally:
            env.close()


def add_evaluation(path: str | os.PathLike[str], evaluation: Evaluation, *, played: Manifest) -> Manifest:
    """Write an evaluation into the manifest of a checkpoint; its other files are not touched.

    `played` is the manifest of the network that played. Raises `WriteError` where another one lies there by now.
    """

    def change(manifest: Manifest) -> Manifest:
        require_same_network(manifest, played, os.fspath(path))
        return replace(manifest, evaluation=(*manifest.evaluation, evaluation.to_dict()))

    return update_manifest(path, change)


def require_same_network(manifest: Manifest, played: Manifest, where: str) -> None:
    """Raise `WriteError` where a manifest is of another network than the one that played."""
    if (manifest.content_digest, manifest.config) != (played.content_digest, played.config):
        raise changed_since(where)


@contextmanager
def _opened(path: str | os.PathLike[str], facts: Reading) -> Iterator[Opened]:
    if os.path.isfile(path):
        yield convert_in_memory(path, **facts)
        return
    with Checkpoint(path) as checkpoint:
        yield checkpoint


def _follow(protocol: Protocol, trained: Environment, config: Config | None) -> tuple[Environment, Protocol]:
    """Return the environment that a protocol plays, and the protocol as far as this network can follow it.

    The set of actions is the network's own: one with six outputs cannot play eighteen.
    """
    environment = resolve(protocol.environment(trained))
    can_all = getattr(config, "n_action", None) == _ALL_ACTIONS and is_atari(environment.id)
    if not (can_all and protocol.full_action_space):
        environment = replace(environment, kwargs=trained.kwargs)
    played = protocol.played(environment)
    names = ("sticky_actions", "noop_max", "fire_reset", "full_action_space")
    asked = {name: getattr(protocol, name) for name in names if getattr(protocol, name) is not None}
    differs = tuple(name for name, value in asked.items() if getattr(played, name) != value)
    return environment, replace(played, differs=differs if protocol.name else ())


def observation_scale(checkpoint: Opened) -> float:
    """Return what observations are divided by before the network of a checkpoint sees them."""
    described = parse_environment(checkpoint.manifest.environment)
    config = checkpoint.config
    # Where nobody says who brings the pixels into 0 to 1, a network that does not leaves it to the environment.
    outside = len(getattr(config, "input_shape", ())) == 3 and getattr(config, "input_scale", 1.0) == 1
    return float(described.get("observation_scale", _PIXELS if outside else 1.0))


def _environment(checkpoint: Opened, game: str | None) -> Environment:
    """Return the description of the environment, with what its observations are divided by."""
    described = dict(parse_environment(checkpoint.manifest.environment))
    config = checkpoint.config
    outside, frames = observation_scale(checkpoint), {} if config is None else _frames(config)
    if isinstance(described.get("id"), str):
        described = {**({} if "frame_stack" in described else frames), **described}
        environment = Environment.from_dict({**described, **({"id": game} if game else {})})
        return replace(environment, observation_scale=outside)
    name = game or getattr(config, "game", None)
    if name is None or config is None:
        raise CkptError(
            "does not say which environment it plays",
            where=checkpoint.path,
            fix="name it with game=, for example ALE/Pong-v5",
            code="environment.unknown",
        )
    all_actions = getattr(config, "n_action", None) == _ALL_ACTIONS and is_atari(name)
    kwargs = {"full_action_space": True} if all_actions else {}
    return Environment(id=name, kwargs=kwargs, observation_scale=outside, **frames)


def _frames(config: Any) -> dict[str, Any]:
    """Return how what a network sees is made of frames: each channel is one; a row of numbers is none."""
    first, *sides = config.input_shape
    return {"frame_stack": first, "screen_size": tuple(sides[::-1])} if sides else {"frame_stack": 1}
