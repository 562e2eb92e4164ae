"""Environments from a description, each with the frames of the library whose agent plays it.

Sticky actions (Machado et al. 2018) are made by a wrapper and not by the emulator: the emulator keeps the
action that stuck outside the state it gives out, so that a resume from that state takes another course now
and then.
"""

import dataclasses
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers
from numpy.typing import NDArray

from ckptfmt.errors import CkptError, printable
from ckptfmt.rl.environment import PREPROCESSINGS, Environment
from ckptfmt.rl.envs.atari import (
    EpisodicLife,
    FireFirst,
    FireReset,
    NoopReset,
    PoolAndSkip,
    Warp,
    has_fire,
    register_games,
)
from ckptfmt.rl.envs.played import end
from ckptfmt.rl.envs.scaled import ScaledObservation

__all__ = ["Env", "is_atari", "make_env", "refuse_imports", "resolve", "usual_stack"]

Env = gymnasium.Env[Any, Any]
# Mnih et al. 2015 shrink the screen of a game to 84×84, and all wrappers of games do since.
_SCREEN = 84
_ZERO_PADDED = ("stable-baselines3", "ale")
_GREY_FIRST = ("gymnasium", "ale")

register_games()
gymnasium.register("ckptfmt/Catch-v0", entry_point="ckptfmt.rl.envs.catch:Catch")


def make_env(environment: Environment, *, render_mode: str | None = None, trusted: bool = True) -> Env:
    """Build the environment; images are (frame_stack x channels, height, width), all else one row, divided as it says.

    With `trusted=False`, as for a description out of a checkpoint, an id that asks for a module to be imported
    is refused. Raises `CkptError` where there is no such environment, its images have shapes of none, or
    it had wrappers that cannot be rebuilt.
    """
    description = resolve(environment)
    if description.wrappers:
        raise _cannot(description, f"it was wrapped in {', '.join(description.wrappers)}, which cannot be rebuilt")
    if not trusted:
        refuse_imports(description.id)
    base = _make_base(description, render_mode)
    if description.preprocessing not in PREPROCESSINGS:
        raise _cannot(
            description,
            f"its frames are preprocessed as in {printable(description.preprocessing)}, which is not known here",
        )
    try:
        env = _preprocess_atari(base, description) if is_atari(description.id) else _preprocess(base, description)
        env = _stack(env, description)
    except (TypeError, ValueError, AssertionError) as e:
        base.close()
        raise _cannot(description, str(e)) from None
    return env if description.observation_scale == 1 else ScaledObservation(env, description.observation_scale)


def resolve(environment: Environment) -> Environment:
    """Return the description with the usual values of its kind filled in."""
    usual: dict[str, Any] = {"frame_skip": 1, "noop_max": 0, "sticky_actions": 0.0}
    if is_atari(environment.id):
        # Mnih et al. 2015 for the frames, Machado et al. 2018 for the sticky actions.
        usual = {"frame_skip": 4, "screen_size": _SCREEN, "noop_max": 30, "sticky_actions": 0.25}
    usual["stack_padding"] = "zero" if environment.preprocessing in _ZERO_PADDED else "reset"
    filled = {name: value for name, value in usual.items() if getattr(environment, name) is None}
    return dataclasses.replace(environment, **filled)


@cache
def usual_stack(env_id: str) -> int:
    """Return how many frames are stacked where nobody says: 4 of images, 1 of vectors."""
    if is_atari(env_id):
        return 4
    base = _make_base(Environment(id=env_id), None)
    shape = base.observation_space.shape or ()
    end(base)
    return 1 if len(shape) == 1 else 4


def is_atari(env_id: str) -> bool:
    """Return whether a registered environment is a game of the Arcade Learning Environment."""
    spec = gymnasium.registry.get(env_id)
    return spec is not None and isinstance(spec.entry_point, str) and spec.entry_point.startswith("ale_py")


def refuse_imports(env_id: str) -> None:
    """Raise `CkptError` for an id out of a checkpoint that asks for a module to be imported."""
    if ":" in env_id:
        raise CkptError(
            f"refused, the environment {env_id} asks for a module to be imported",
            where="$.environment.id",
            fix="import it yourself, then name the environment without the module",
            code="environment.imports",
        )


def _make_base(description: Environment, render_mode: str | None) -> Env:
    kwargs = dict(description.kwargs)
    if is_atari(description.id):
        # Both are done by wrappers here, whose state can be stored.
        kwargs |= {"frameskip": 1, "repeat_action_probability": 0.0}
        grey = description.grayscale and description.preprocessing in _GREY_FIRST
        kwargs["obs_type"] = "grayscale" if grey else "rgb"
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    try:
        return gymnasium.make(description.id, disable_env_checker=True, **kwargs)
    except (gymnasium.error.Error, ImportError, TypeError) as e:
        # The first line says what; the others of gymnasium's messages are lists and advice for its own callers.
        raise _cannot(description, str(e).splitlines()[0].rstrip(".")) from None


def _preprocess_atari(base: Env, description: Environment) -> Env:
    env: Env = base
    fire = description.fire_reset and has_fire(env)
    if description.sticky_actions:
        env = wrappers.StickyAction(env, description.sticky_actions)
    if description.preprocessing == "ale":
        env = _limit(_pool_grey(FireFirst(env, description.noop_max or 0, fire), description, 0), description)
        return _channels_first(EpisodicLife(env) if description.terminal_on_life_loss else env)
    if description.preprocessing == "gymnasium":
        env = _pool_grey(env, description, description.noop_max or 0)
    else:
        env = _pool_colours(env, description)
    env = _limit(env, description)
    env = EpisodicLife(env) if description.terminal_on_life_loss else env
    env = FireReset(env) if fire else env
    return _channels_first(env if description.preprocessing == "gymnasium" else _shrink(env, description))


def _pool_grey(env: Env, description: Environment, noop_max: int) -> Env:
    """Pool over frames that are grey already, and shrink them, as gymnasium and ALE do."""
    # The wrapper reads two screens of a step by itself; what the game returns of every frame would be thrown away.
    env.unwrapped._get_obs = _unseen  # type: ignore[attr-defined]
    return wrappers.AtariPreprocessing(
        env,
        noop_max=noop_max,
        frame_skip=description.frame_skip or 1,
        screen_size=description.screen_size or _SCREEN,
        grayscale_obs=description.grayscale,
    )


def _unseen() -> None:
    """Stand for a screen that nobody looks at."""


def _pool_colours(env: Env, description: Environment) -> Env:
    """Pool over frames in colour, as Stable-Baselines3 and CleanRL do."""
    env = NoopReset(env, description.noop_max) if description.noop_max else env
    skip = description.frame_skip or 1
    return PoolAndSkip(env, skip) if skip > 1 else env


def _shrink(env: Env, description: Environment) -> Env:
    """Take the colours out, then shrink (Stable-Baselines3), or the other way round (CleanRL)."""
    size = description.screen_size or _SCREEN
    width, height = (size, size) if isinstance(size, int) else size
    if description.preprocessing == "stable-baselines3":
        return Warp(env, width, height)
    env = wrappers.ResizeObservation(env, (height, width))
    return wrappers.GrayscaleObservation(env) if description.grayscale else env


def _limit(env: Env, description: Environment) -> Env:
    limit = description.max_episode_steps
    return wrappers.TimeLimit(env, limit) if limit else env


def _preprocess(base: Env, description: Environment) -> Env:
    env: Env = base
    if description.sticky_actions:
        env = wrappers.StickyAction(env, description.sticky_actions)
    if not _gives_images(env):
        if (description.frame_skip or 1) > 1:
            raise TypeError("its observations are no images, and frame_skip is for images only")
        return _limit(env if _is_row(env) else wrappers.FlattenObservation(env), description)
    if len(env.observation_space.shape or ()) == 1:
        return _limit(env, description)
    if (description.frame_skip or 1) > 1:
        env = wrappers.MaxAndSkipObservation(env, skip=description.frame_skip or 1)
    if description.grayscale and _image_shape(env)[2] == 3:
        env = wrappers.GrayscaleObservation(env)
    if size := description.screen_size:
        width, height = (size, size) if isinstance(size, int) else size
        env = wrappers.ResizeObservation(env, (height, width))
    return _limit(_channels_first(env), description)


def _channels_first(env: Env) -> Env:
    """Turn (height, width) or (height, width, channels) into (channels, height, width)."""
    height, width, channels = _image_shape(env)
    space = env.observation_space
    if not isinstance(space, gymnasium.spaces.Box):
        raise TypeError("its observations are no images")
    # Plain numbers: those of images of bits have a type that gymnasium refuses.
    low, high = float(space.low.min()), float(space.high.max())
    turned = gymnasium.spaces.Box(low, high, (channels, height, width), space.dtype.type)

    def turn(image: NDArray[Any]) -> NDArray[Any]:
        image = _copied(image, space)
        return np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]

    return wrappers.TransformObservation(env, turn, turned)


def _copied(observation: Any, space: gymnasium.Space[Any]) -> NDArray[Any]:
    """Return what was seen as an array that the environment does not write into, as it does until it is stacked."""
    return np.array(observation, dtype=space.dtype)


def _gives_images(env: Env) -> bool:
    space = env.observation_space
    return isinstance(space, gymnasium.spaces.Box) and len(space.shape) in (2, 3)


def _is_row(env: Env) -> bool:
    """Return whether what is seen is one row of numbers; what is not is flattened."""
    space = env.observation_space
    return isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1


def _image_shape(env: Env) -> tuple[int, int, int]:
    shape = env.observation_space.shape or ()
    if len(shape) == 2:
        return shape[0], shape[1], 1
    # Grey, red-green-blue, and the latter with transparency.
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return shape[0], shape[1], shape[2]
    raise TypeError(f"its observations are no images, their shape is {shape}")


def _stack(env: Env, description: Environment) -> Env:
    shape = env.observation_space.shape or ()
    frames, padding = description.frame_stack, description.stack_padding or "reset"
    if frames == 1 and len(shape) == 1:
        return env
    if len(shape) == 1:
        space = env.observation_space
        env = wrappers.TransformObservation(env, lambda row: _copied(row, space), space)
    stacked = wrappers.FrameStackObservation(env, frames, padding_type=padding)
    return wrappers.ReshapeObservation(stacked, (frames * shape[0], *shape[1:]))


def _cannot(description: Environment, reason: str) -> CkptError:
    return CkptError(
        f"the environment {description.id} cannot be made: {reason}", where="environment", code="environment.unknown"
    )
