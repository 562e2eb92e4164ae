"""The whole state of an environment as plain data, so that an episode goes on in another process.

An environment may say itself what its state is, with `get_state()` and `set_state(state)`. Of wrappers and of the
environments that come with gymnasium's games, the attributes in a table are taken; of any other environment those
that hold numbers: arrays, flags, containers of them, random generators. Text is not taken, since it may be a
path or a name. The emulator of Atari games gives its state as bytes.

What is put back was written by whoever made the checkpoint. So only attributes are set that the environment at hand
has and gives out itself, to values of the same kinds and sizes.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import gymnasium
import numpy as np

from ckptfmt.errors import WeightsError
from ckptfmt.format.record import record
from ckptfmt.rl.alike import check_alike, check_names, check_range, has_text, item, refuse
from ckptfmt.rl.envs.description import layers
from ckptfmt.rl.envs.make import Env
from ckptfmt.rl.envs.played import Elsewhere
from ckptfmt.rl.rng import GENERATORS, capture_generator, restore_generator
from ckptfmt.rl.tree import is_plain

__all__ = ["EnvState", "capture_env", "capture_games", "restore_env", "restore_games"]

# What changes in a wrapper while it is played; all else it was made with.
_CLASSIC = frozenset({"_np_random", "_np_random_seed", "state", "steps_beyond_terminated"})
_CHANGES: Mapping[str, frozenset[str]] = {
    "AcrobotEnv": _CLASSIC,
    "AtariEnv": frozenset({"_np_random", "_np_random_seed"}),
    "CartPoleEnv": _CLASSIC,
    "Catch": frozenset({"_np_random", "_np_random_seed", "ball", "drift", "paddle"}),
    "AtariPreprocessing": frozenset({"obs_buffer", "lives", "game_over"}),
    "EpisodicLife": frozenset({"lives", "game_over", "games"}),
    "FrameStackObservation": frozenset({"obs_queue"}),
    "MaxAndSkipObservation": frozenset({"_obs_buffer"}),
    "MountainCarEnv": _CLASSIC,
    "PoolAndSkip": frozenset({"last"}),
    "OrderEnforcing": frozenset({"_has_reset"}),
    "StickyAction": frozenset({"last_action", "is_sticky_actions", "num_repeats", "repeats_taken"}),
    "TimeLimit": frozenset({"_elapsed_steps"}),
}
# Numbers that an environment uses as places, without looking: one range for all numbers of an attribute, or one each.
_RANGES: Mapping[str, Mapping[str, tuple[tuple[float, float], ...]]] = {
    # The emulator counts lives in a byte of its memory.
    "AtariPreprocessing": {"lives": ((0, 255),)},
    # Of twelve rows and columns the ball is never seen in the last row: there the episode is over.
    "Catch": {"ball": ((0, 10), (0, 11)), "drift": ((-1, 1),), "paddle": ((0, 9),)},
    # Doubles count no further.
    "EpisodicLife": {"lives": ((0, 255),), "games": ((0, 2**53),)},
    # The last action is held to the actions of the game besides.
    "StickyAction": {"last_action": ((0, 255),), "num_repeats": ((0, 1),), "repeats_taken": ((0, 1),)},
    "TimeLimit": {"_elapsed_steps": ((0, 2**53),)},
}
_UNCHANGED = frozenset(
    {
        "FireFirst",
        "FireReset",
        "GrayscaleObservation",
        "NoopReset",
        "ReshapeObservation",
        "ResizeObservation",
        "ScaledObservation",
        "TransformObservation",
        "Warp",
    }
)
# What an environment is made with and never changes, and what is made anew for each process.
_FIXED = frozenset(
    {
        "_action_set",
        "_action_space",
        "_cached_spec",
        "_ezpickle_args",
        "_ezpickle_kwargs",
        "_metadata",
        "_observation_space",
        "_saved_kwargs",
        "scale",
        "env",
        "func",
        "metadata",
        "render_mode",
        "spec",
    }
)
_FIXED_TYPES = (gymnasium.Space, gymnasium.envs.registration.EnvSpec)


@record
class EnvState:
    """The state of each layer from the outermost in, and the attributes that could not be stored."""

    layers: list[Any]
    lacks: tuple[str, ...]


def capture_games(environments: Sequence[Any]) -> EnvState:
    """Return the states of environments, of a vector of them one by one where they live in this process."""
    singles, lacks = _singles(environments)
    captured = [capture_env(env) for env in singles]
    missing = {name for env in captured for name in env.lacks}
    return EnvState([env.layers for env in captured], (*sorted(missing), *lacks))


def restore_games(environments: Sequence[Any], stored: Sequence[Any]) -> None:
    """Set environments to what `capture_games` of as many gave; raise `WeightsError` for other ones."""
    singles, _ = _singles(environments)
    if len(singles) != len(stored):
        refuse(f"holds the state of {len(stored)} games, not of {len(singles)}", "environments")
    for i, (env, state) in enumerate(zip(singles, stored, strict=True)):
        restore_env(env, state, f"environments/{i}")


def _singles(environments: Sequence[Any]) -> tuple[list[Env], list[str]]:
    """Return every single environment, and what of the vectors cannot be stored."""
    singles: list[Env] = []
    lacks = []
    for env in environments:
        inner = env
        while isinstance(inner, gymnasium.vector.VectorWrapper):
            inner = inner.env
        if isinstance(inner, gymnasium.vector.SyncVectorEnv):
            singles += inner.envs
            if np.any(getattr(inner, "_autoreset_envs", False)):
                lacks.append("SyncVectorEnv is about to reset")
        elif isinstance(inner, gymnasium.vector.VectorEnv):
            lacks.append(f"{type(inner).__name__} keeps its games to itself")
        else:
            singles.append(env)
    return singles, lacks


def capture_env(env: Env) -> EnvState:
    """Return the state of an environment that was reset; nothing of it is changed."""
    if isinstance(env, Elsewhere):
        return EnvState(*env.capture())
    captured, lacks = [], []
    for layer in layers(env):
        state, missing = _capture_layer(layer)
        captured.append({"type": type(layer).__name__, **state})
        lacks += [f"{type(layer).__name__}.{name}" for name in missing]
    return EnvState(captured, tuple(lacks))


def restore_env(env: Env, captured: Any, where: str = "env") -> None:
    """Set an environment that was made from the same description to a captured state.

    Resets it first, so that what lies outside its attributes is there. Raises `WeightsError` where the
    state is that of another environment, or of none.
    """
    if isinstance(env, Elsewhere):
        env.restore(captured, where)
        return
    chain = list(layers(env))
    names = [type(layer).__name__ for layer in chain]
    if not isinstance(captured, list) or not all(isinstance(state, Mapping) for state in captured):
        refuse("must be a list of mappings", where)
    if names != [state.get("type") for state in captured]:
        raise WeightsError(
            f"the state is that of other wrappers than {', '.join(names)}", where=where, code="state.environment"
        )
    # Any seed will do: the generators are set afterwards.
    env.reset(seed=0)
    for layer, state in zip(chain, captured, strict=True):
        _restore_layer(layer, state, f"{where}/{type(layer).__name__}")


def _capture_layer(layer: Env) -> tuple[dict[str, Any], list[str]]:
    if _says_itself(layer):
        return {"own": layer.get_state()}, []  # type: ignore[attr-defined]
    state: dict[str, Any] = {"attributes": {}, "generators": {}}
    missing = []
    for name, value in _changing(layer):
        if isinstance(value, GENERATORS):
            state["generators"][name] = capture_generator(value)
        elif _is_emulator(value):
            state["emulator"] = value.cloneState(include_rng=True).serialize()
        elif is_plain(value) and not has_text(value):
            state["attributes"][name] = _copy(value)
        else:
            missing.append(name)
    return state, missing


def _says_itself(layer: Env) -> bool:
    return not isinstance(layer, gymnasium.Wrapper) and hasattr(layer, "get_state") and hasattr(layer, "set_state")


def _changing(layer: Env) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a layer that playing changes."""
    kind = type(layer).__name__
    known = _CHANGES.get(kind, frozenset() if kind in _UNCHANGED else None)
    for name, value in vars(layer).items():
        if known is not None and name not in known and not _is_emulator(value):
            continue
        if name not in _FIXED and not isinstance(value, _FIXED_TYPES) and not callable(value):
            yield name, value


def _restore_layer(layer: Any, state: Mapping[str, Any], where: str) -> None:
    if _says_itself(layer):
        layer.set_state(item(state, "own", where))
        return
    live, _ = _capture_layer(layer)
    attributes, generators = item(state, "attributes", where), item(state, "generators", where)
    check_alike(attributes, live["attributes"], where, absent=True)
    check_names(generators, live["generators"], where)
    check_names(state, {"type": "", **live}, where)
    for name, value in attributes.items():
        _check_known(layer, name, value, live["attributes"][name], f"{where}/{name}")
        setattr(layer, name, value)
    for name, value in generators.items():
        restore_generator(getattr(layer, name), value, f"{where}/{name}")
    if "emulator" in live:
        _restore_emulator(layer.ale, state["emulator"], live["emulator"], f"{where}/emulator")


def _check_known(layer: Any, name: str, stored: Any, live: Any, where: str) -> None:
    """Hold what the tables know to its length and range; other environments have to look themselves."""
    kind = type(layer).__name__
    if kind in _CHANGES and isinstance(live, list | deque) and len(stored) != len(live):
        refuse(f"holds {len(stored)}, must hold {len(live)}", where)
    if name not in _RANGES.get(kind, {}):
        return
    ranges = _RANGES[kind][name]
    if name == "last_action":
        ranges = ((0, int(layer.action_space.n) - 1),)
    numbers = stored if isinstance(stored, list) else [stored]
    for number, (least, most) in zip(numbers, cycle(ranges), strict=False):
        if number is not None or live is not None:
            check_range(number, least, most, where)


def _is_emulator(value: Any) -> bool:
    # Told by its name: without the emulator installed there is none to be told.
    return type(value).__name__ == "ALEInterface"


def _restore_emulator(emulator: Any, stored: Any, live: bytes, where: str) -> None:
    """Set an emulator to the state that it gave out of the same cartridge, whose digest the state begins with."""
    # A state of the same game is about as long; what is far longer is none.
    if not isinstance(stored, bytes) or not 0 < len(stored) < 2 * len(live):
        refuse("must be the bytes of an emulator", where)
    if stored[_CARTRIDGE] != live[_CARTRIDGE]:
        refuse("is of another game", where)
    try:
        emulator.restoreState(type(emulator.cloneState())(stored))
    except (RuntimeError, ValueError, MemoryError, SystemError) as e:
        refuse(f"is no state of the emulator: {e}", where)


# Frame counters and the length come first, then the MD5 of the cartridge as text.
_CARTRIDGE = slice(28, 64)


def _copy(value: Any) -> Any:
    """Copy arrays, which environments go on writing into; the rest of plain data is rebuilt around them."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item) for item in value) if type(value) in (list, tuple) else value
    return value
