"""Descriptions from an environment that was made by hand, single or one of many."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gymnasium
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec

from ckptfmt.errors import CkptError
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.atari import (
    EpisodicLife,
    FireFirst,
    FireReset,
    NoopReset,
    PoolAndSkip,
    Warp,
    describe_baselines,
    describe_named,
)
from ckptfmt.rl.envs.make import Env, is_atari
from ckptfmt.rl.envs.scaled import ScaledObservation

__all__ = ["describe_env", "describe_remote", "describe_vector", "layers"]

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
    EpisodicLife,
    FireFirst,
    FireReset,
    NoopReset,
    PoolAndSkip,
    Warp,
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
# The same by name, and a shape that is given back to the frames wherever they are made.
_NO_CHANGE = {wrapper.__name__ for wrapper in (*_NEUTRAL, wrappers.ReshapeObservation)}


def layers(env: Env) -> Iterator[Env]:
    """Yield an environment's wrappers from the outermost to the environment itself."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
    yield env


def describe_env(env: Any) -> Environment:
    """Return the description of an environment that was made by hand or by `make_env`, or of the first of many.

    Raises `CkptError` where a vector environment does not say what it is made of.
    """
    if isinstance(env, gymnasium.vector.VectorEnv):
        return describe_vector(env)
    spec = env.unwrapped.spec
    found, kwargs = _bare(spec)
    others = []
    for layer in layers(env):
        known = describe_baselines(layer)
        found |= _describe_layer(layer) if known is None else known
        if known is None and isinstance(layer, gymnasium.Wrapper) and not isinstance(layer, _REBUILT + _NEUTRAL):
            others.append(type(layer).__name__)
    if kwargs.get("frameskip", 1) != 1:
        others.append(f"frameskip={kwargs['frameskip']}")
    if spec and is_atari(spec.id):
        found, others = _describe_frames(env, found, others)
    name = spec.id if spec else type(env.unwrapped).__name__
    return Environment(id=name, kwargs=_unusual(name, kwargs), **found, wrappers=tuple(others))


def describe_remote(spec: EnvSpec, read: Callable[[str], Any]) -> Environment:
    """Return the description of an environment in another process, whose `spec` lists what it was wrapped in.

    `read` asks that process for an attribute. A wrapper that is none of Stable-Baselines3's stands in `wrappers`.
    """
    found, kwargs = _bare(spec)
    others = []
    for layer in reversed(spec.additional_wrappers):
        known = describe_named(layer.entry_point.partition(":")[0], layer.name, read)
        found |= known or {}
        if known is None and layer.name not in _NO_CHANGE:
            others.append(layer.name)
    if kwargs.get("frameskip", 1) != 1:
        others.append(f"frameskip={kwargs['frameskip']}")
    if is_atari(spec.id) and "preprocessing" not in found:
        others.append("frames of another process")
    return Environment(id=spec.id, kwargs=_unusual(spec.id, kwargs), **found, wrappers=tuple(others))


def _bare(spec: EnvSpec | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the description of an environment without wrappers, and what else it was made with."""
    kwargs = dict(spec.kwargs) if spec else {}
    sticky = kwargs.pop("repeat_action_probability", 0.0)
    plain = {"frame_stack": 1, "frame_skip": 1, "noop_max": 0, "sticky_actions": sticky, "grayscale": False}
    return plain, kwargs


def _describe_frames(env: Env, found: dict[str, Any], others: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Say whose frames those of an Atari game are, where no wrapper says so by being there."""
    if "screen_size" not in found:
        height, width = env.unwrapped.observation_space.shape[:2]  # type: ignore[index]
        found = {**found, "screen_size": (width, height)}
    if "preprocessing" in found:
        return found, others
    kinds = [type(layer) for layer in layers(env)]
    shrunk, grey = wrappers.ResizeObservation, wrappers.GrayscaleObservation
    if shrunk in kinds and grey in kinds and kinds.index(shrunk) < kinds.index(grey):
        others = [*others, "GrayscaleObservation before ResizeObservation"]
    return {**found, "preprocessing": "cleanrl"}, others


def describe_vector(env: gymnasium.vector.VectorEnv[Any, Any, Any]) -> Environment:
    """Return the description of the first of many environments; `wrappers` names what lies around them all."""
    others = []
    while isinstance(env, gymnasium.vector.VectorWrapper):
        if not isinstance(env, gymnasium.wrappers.vector.RecordEpisodeStatistics):
            others.append(type(env).__name__)
        env = env.env
    if isinstance(env, gymnasium.vector.SyncVectorEnv):
        found = describe_env(env.envs[0])
    elif isinstance(env, gymnasium.vector.AsyncVectorEnv):
        # The others live in processes of their own; one more is made here, asked, and closed.
        single = env.env_fns[0]()
        found = describe_env(single)
        single.close()
    elif type(env).__name__ == "AtariVectorEnv" and env.spec is not None:
        found = _describe_ale(env)
    else:
        raise CkptError(
            f"{type(env).__name__} does not say which environments it is made of",
            where="environment",
            fix="make it with gymnasium.make_vec, or give an Environment that describes one of them",
            code="environment.unknown",
        )
    return replace(found, wrappers=(*others, *found.wrappers))


def _describe_ale(env: Any) -> Environment:
    """Return what ALE's own vector environment does, from what it was made with and what is its usual way."""
    kwargs = dict(env.spec.kwargs)
    usual = inspect.signature(type(env).__init__).parameters
    given = {name: kwargs.pop(name, item.default) for name, item in usual.items() if name != "self"}
    kwargs = {name: given[name] for name in ("full_action_space", "max_num_frames_per_episode")}
    width, height = given["img_width"], given["img_height"]
    return Environment(
        id=env.spec.id,
        kwargs=_unusual(env.spec.id, kwargs),
        frame_skip=given["frameskip"],
        frame_stack=given["stack_num"],
        screen_size=width if width == height else (width, height),
        grayscale=given["grayscale"],
        noop_max=given["noop_max"],
        sticky_actions=given["repeat_action_probability"],
        terminal_on_life_loss=given["episodic_life"],
        fire_reset=given["use_fire_reset"],
        preprocessing="ale",
        stack_padding="zero",
        wrappers=() if given["maxpool"] else ("maxpool=False",),
    )


def _unusual(env_id: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what an environment was made with, without what it is always made with."""
    usual = gymnasium.registry[env_id].kwargs if env_id in gymnasium.registry else {}
    made_anew = ("frameskip", "obs_type", "render_mode")
    return {name: item for name, item in kwargs.items() if name not in made_anew and usual.get(name) != item}


def _describe_layer(layer: Env) -> dict[str, Any]:
    match layer:
        case wrappers.AtariPreprocessing():
            return {
                "frame_skip": layer.frame_skip,
                "screen_size": _size(*layer.screen_size),
                "grayscale": layer.grayscale_obs,
                # gymnasium's `scale_obs` divides bytes by 255.
                **({"observation_scale": 255.0} if layer.scale_obs else {}),
                "preprocessing": "gymnasium",
                **({"noop_max": layer.noop_max} if layer.noop_max else {}),
                **({"terminal_on_life_loss": True} if layer.terminal_on_life_loss else {}),
            }
        case ScaledObservation():
            return {"observation_scale": layer.scale}
        case wrappers.FrameStackObservation():
            return {"frame_stack": int(layer.stack_size), "stack_padding": layer.padding_type}
        case wrappers.StickyAction():
            return {"sticky_actions": float(layer.repeat_action_probability)}
        case wrappers.MaxAndSkipObservation():
            return {"frame_skip": int(layer._skip)}
        case wrappers.GrayscaleObservation():
            return {"grayscale": True}
        case wrappers.ResizeObservation():
            return {"screen_size": _size(*reversed(layer.shape))}
        case wrappers.TimeLimit():
            # One that comes with the environment is made with it again.
            registered = layer.unwrapped.spec and layer.unwrapped.spec.max_episode_steps
            limit = int(layer._max_episode_steps)
            return {} if limit == registered else {"max_episode_steps": limit}
    return _describe_ours(layer)


def _describe_ours(layer: Env) -> dict[str, Any]:
    match layer:
        case NoopReset():
            return {"noop_max": layer.noop_max}
        case PoolAndSkip():
            return {"frame_skip": layer.skip}
        case EpisodicLife():
            return {"terminal_on_life_loss": True}
        case FireReset():
            return {"fire_reset": True}
        case FireFirst():
            return {"noop_max": layer.noop_max, "fire_reset": layer.fire, "preprocessing": "ale"}
        case Warp():
            return {"grayscale": True, "screen_size": _size(*layer.size), "preprocessing": "stable-baselines3"}
    return {}


def _size(width: int, height: int) -> int | tuple[int, int]:
    return width if width == height else (width, height)
