"""Environments from a description, and descriptions from an environment.

The wrappers are gymnasium's own. Sticky actions (Machado et al. 2018) are made by its `StickyAction` and not by
the emulator: the emulator keeps the action that stuck outside the state it gives out, so that a resume from
that state takes another course now and then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import ale_py
import gymnasium
import numpy as np
from gymnasium import wrappers
from numpy.typing import NDArray

from ckptfmt.errors import CkptError
from ckptfmt.rl.described import parse_environment
from ckptfmt.rl.envs.atari import FireReset, describe_baselines

__all__ = ["Env", "Environment", "describe_env", "is_atari", "layers", "make_env"]

Env = gymnasium.Env[Any, Any]

ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
gymnasium.register_envs(ale_py)
gymnasium.register("ckptfmt/Catch-v0", entry_point="ckptfmt.rl.envs.catch:Catch")

_REBUILT = (
    wrappers.AtariPreprocessing,
    wrappers.FrameStackObservation,
    wrappers.GrayscaleObservation,
    wrappers.MaxAndSkipObservation,
    wrappers.ReshapeObservation,
    wrappers.ResizeObservation,
    wrappers.StickyAction,
    wrappers.TimeLimit,
    wrappers.TransformObservation,
)
# These do not change what an agent sees or gets.
_NEUTRAL = (
    wrappers.Autoreset,
    wrappers.HumanRendering,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.RecordEpisodeStatistics,
    wrappers.RecordVideo,
    wrappers.RenderCollection,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """How the frames that a network sees are made: a gymnasium id, and what is done to its images.

    `frame_skip`, `screen_size` (width and height in pixels, None as they come), `noop_max` and
    `sticky_actions` (a probability) are None for the usual value of the kind of environment: 4, 84, 30 and
    0.25 for Atari games, no change for others. `fire_reset` starts episodes by pressing fire. `observation_scale`
    divides the pixels before they reach the network. `wrappers` names what lay around an environment and cannot
    be rebuilt, such as an emulator that skips frames by itself.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    frame_skip: int | None = None
    frame_stack: int = 4
    screen_size: int | tuple[int, int] | None = None
    grayscale: bool = True
    noop_max: int | None = None
    sticky_actions: float | None = None
    terminal_on_life_loss: bool = False
    fire_reset: bool = False
    max_episode_steps: int | None = None
    observation_scale: float = 1.0
    wrappers: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a description from the manifest's `environment`; fields it does not know are left alone."""
        if not isinstance(data.get("id"), str):
            raise CkptError("names no environment", where="$.environment.id", code="environment.unknown")
        parse_environment(data)
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        if isinstance(known.get("screen_size"), list):
            known["screen_size"] = tuple(known["screen_size"])
        return cls(**{**known, "wrappers": tuple(known.get("wrappers", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Return the description as it stands in the manifest."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**data, "kwargs": dict(self.kwargs), "wrappers": list(self.wrappers)}

    def resolved(self) -> Self:
        """Return the description with the usual values of its kind filled in."""
        usual: dict[str, Any] = {"frame_skip": 1, "noop_max": 0, "sticky_actions": 0.0}
        if is_atari(self.id):
            usual = {"frame_skip": 4, "screen_size": 84, "noop_max": 30, "sticky_actions": 0.25}
        filled = {name: value for name, value in usual.items() if getattr(self, name) is None}
        return type(self)(**{f.name: filled.get(f.name, getattr(self, f.name)) for f in fields(self)})


def make_env(environment: Environment, *, render_mode: str | None = None, trusted: bool = True) -> Env:
    """Build the environment; observations are (frame_stack x channels, height, width).

    With `trusted=False`, as for a description out of a checkpoint, an id that asks for a module to be imported
    is refused. Raises `CkptError` where there is no such environment, its observations are no images, or
    it had wrappers that cannot be rebuilt.
    """
    description = environment.resolved()
    _refuse_foreign(description, trusted)
    base = _make_base(description, render_mode)
    try:
        env = _preprocess_atari(base, description) if is_atari(description.id) else _preprocess(base, description)
    except (TypeError, ValueError, AssertionError) as e:
        base.close()
        raise _cannot(description, str(e)) from None
    if description.max_episode_steps:
        env = wrappers.TimeLimit(env, description.max_episode_steps)
    return _stack(env, description.frame_stack)


def layers(env: Env) -> Iterator[Env]:
    """Yield an environment's wrappers from the outermost to the environment itself."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
    yield env


def describe_env(env: Env) -> Environment:
    """Return the description of an environment that was made by hand or by `make_env`."""
    spec = env.unwrapped.spec
    kwargs = dict(spec.kwargs) if spec else {}
    sticky = kwargs.pop("repeat_action_probability", 0.0)
    found = {"frame_stack": 1, "frame_skip": 1, "noop_max": 0, "sticky_actions": sticky, "grayscale": False}
    others = []
    for layer in layers(env):
        known = describe_baselines(layer)
        found |= _describe_layer(layer) if known is None else known
        if known is None and isinstance(layer, gymnasium.Wrapper) and not isinstance(layer, _REBUILT + _NEUTRAL):
            others.append(type(layer).__name__)
    if kwargs.get("frameskip", 1) != 1:
        others.append(f"frameskip={kwargs['frameskip']}")
    usual = gymnasium.registry[spec.id].kwargs if spec and spec.id in gymnasium.registry else {}
    for name, value in list(kwargs.items()):
        if name in ("frameskip", "obs_type", "render_mode") or usual.get(name) == value:
            del kwargs[name]
    name = spec.id if spec else type(env.unwrapped).__name__
    return Environment(id=name, kwargs=kwargs, **found, wrappers=tuple(others))


def _describe_layer(layer: Env) -> dict[str, Any]:
    match layer:
        case wrappers.AtariPreprocessing():
            width, height = layer.screen_size
            return {
                "noop_max": layer.noop_max,
                "frame_skip": layer.frame_skip,
                "screen_size": width if width == height else (width, height),
                "terminal_on_life_loss": layer.terminal_on_life_loss,
                "grayscale": layer.grayscale_obs,
                "observation_scale": 255.0 if layer.scale_obs else 1.0,
            }
        case wrappers.FrameStackObservation():
            return {"frame_stack": int(layer.stack_size)}
        case wrappers.StickyAction():
            return {"sticky_actions": float(layer.repeat_action_probability)}
        case wrappers.MaxAndSkipObservation():
            return {"frame_skip": int(layer._skip)}
        case wrappers.GrayscaleObservation():
            return {"grayscale": True}
        case wrappers.ResizeObservation():
            height, width = layer.shape
            return {"screen_size": width if width == height else (width, height)}
    return {}


def is_atari(env_id: str) -> bool:
    """Return whether an id is that of a game of the emulator."""
    spec = gymnasium.registry.get(env_id)
    return spec is not None and isinstance(spec.entry_point, str) and spec.entry_point.startswith("ale_py")


def _refuse_foreign(description: Environment, trusted: bool) -> None:
    if description.wrappers:
        raise _cannot(description, f"it was wrapped in {', '.join(description.wrappers)}, which cannot be rebuilt")
    if ":" in description.id and not trusted:
        raise CkptError(
            f"refused, the environment {description.id} asks for a module to be imported",
            where="$.environment.id",
            fix="import it yourself, then name the environment without the module",
            code="environment.foreign",
        )


def _make_base(description: Environment, render_mode: str | None) -> Env:
    kwargs = dict(description.kwargs)
    if is_atari(description.id):
        kwargs |= {"frameskip": 1, "repeat_action_probability": 0.0}
        kwargs["obs_type"] = "grayscale" if description.grayscale else "rgb"
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    try:
        return gymnasium.make(description.id, disable_env_checker=True, **kwargs)
    except (gymnasium.error.Error, ImportError, TypeError) as e:
        raise _cannot(description, str(e).splitlines()[0].rstrip(".")) from None


def _preprocess_atari(base: Env, description: Environment) -> Env:
    env: Env = base
    if description.sticky_actions:
        env = wrappers.StickyAction(env, description.sticky_actions)
    env = wrappers.AtariPreprocessing(
        env,
        noop_max=description.noop_max or 0,
        frame_skip=description.frame_skip or 1,
        screen_size=description.screen_size or 84,
        terminal_on_life_loss=description.terminal_on_life_loss,
        grayscale_obs=description.grayscale,
    )
    return _channels_first(FireReset(env) if description.fire_reset else env)


def _preprocess(base: Env, description: Environment) -> Env:
    env: Env = base
    if description.sticky_actions:
        env = wrappers.StickyAction(env, description.sticky_actions)
    if (description.frame_skip or 1) > 1:
        env = wrappers.MaxAndSkipObservation(env, skip=description.frame_skip or 1)
    if description.grayscale and _image_shape(env)[2] == 3:
        env = wrappers.GrayscaleObservation(env)
    if size := description.screen_size:
        width, height = (size, size) if isinstance(size, int) else size
        env = wrappers.ResizeObservation(env, (height, width))
    return _channels_first(env)


def _channels_first(env: Env) -> Env:
    """Turn (height, width) or (height, width, channels) into (channels, height, width)."""
    height, width, channels = _image_shape(env)
    space = env.observation_space
    if not isinstance(space, gymnasium.spaces.Box):
        raise TypeError("its observations are no images")
    low, high = space.low.min(), space.high.max()
    turned = gymnasium.spaces.Box(low, high, (channels, height, width), space.dtype.type)

    def turn(image: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]

    return wrappers.TransformObservation(env, turn, turned)


def _image_shape(env: Env) -> tuple[int, int, int]:
    shape = env.observation_space.shape or ()
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return shape[0], shape[1], shape[2]
    raise TypeError(f"its observations are no images, their shape is {shape}")


def _stack(env: Env, frames: int) -> Env:
    channels, height, width = env.observation_space.shape or ()
    stacked = wrappers.FrameStackObservation(env, frames)
    return wrappers.ReshapeObservation(stacked, (frames * channels, height, width))


def _cannot(description: Environment, reason: str) -> CkptError:
    return CkptError(
        f"the environment {description.id} cannot be made: {reason}", where="environment", code="environment.unknown"
    )
