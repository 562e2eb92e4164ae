"""The whole state of an environment as plain data, so that an episode goes on in another process.

An environment may say itself what its state is, with `get_state()` and `set_state(state)`. Of any other the
attributes are taken, of each wrapper as well: numbers, text, arrays, containers of them and random
generators. The emulator of Atari games gives its state as bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ale_py
import gymnasium
import numpy as np

from ckptfmt.errors import WeightsError
from ckptfmt.rl.envs.description import Env, layers
from ckptfmt.rl.rng import GENERATORS, capture_generator, restore_generator
from ckptfmt.rl.tree import is_plain

__all__ = ["EnvState", "capture_env", "restore_env"]

# What a wrapper or an environment is made with and never changes, and what is made anew for each process.
_FIXED = frozenset(
    {
        "_action_set",
        "_cached_spec",
        "_ezpickle_args",
        "_ezpickle_kwargs",
        "_metadata",
        "_saved_kwargs",
        "env",
        "func",
        "metadata",
        "render_mode",
        "spec",
    }
)
_FIXED_TYPES = (gymnasium.Space, gymnasium.envs.registration.EnvSpec)


@dataclass(frozen=True, slots=True)
class EnvState:
    """The state of each layer from the outermost in, and the attributes that could not be stored."""

    layers: list[dict[str, Any]]
    lacks: tuple[str, ...]


def capture_env(env: Env) -> EnvState:
    """Return the state of an environment that was reset; nothing of it is changed."""
    captured, lacks = [], []
    for layer in layers(env):
        state, missing = _capture_layer(layer)
        captured.append({"type": type(layer).__name__, **state})
        lacks += [f"{type(layer).__name__}.{name}" for name in missing]
    return EnvState(captured, tuple(lacks))


def restore_env(env: Env, captured: list[dict[str, Any]]) -> None:
    """Set an environment that was made from the same description to a captured state.

    Resets it first, so that what lies outside its attributes is there. Raises `WeightsError` where the
    state is that of another environment.
    """
    chain = list(layers(env))
    names = [type(layer).__name__ for layer in chain]
    if names != [state["type"] for state in captured]:
        raise WeightsError(
            f"the state is that of other wrappers than {', '.join(names)}", where="env", code="state.environment"
        )
    env.reset(seed=0)
    for layer, state in zip(chain, captured, strict=True):
        _restore_layer(layer, state)


def _capture_layer(layer: Env) -> tuple[dict[str, Any], list[str]]:
    if not isinstance(layer, gymnasium.Wrapper) and hasattr(layer, "get_state"):
        return {"own": layer.get_state()}, []
    state: dict[str, Any] = {"attributes": {}, "generators": {}}
    missing = []
    for name, value in vars(layer).items():
        if name in _FIXED or isinstance(value, _FIXED_TYPES) or callable(value):
            continue
        if isinstance(value, GENERATORS):
            state["generators"][name] = capture_generator(value)
        elif isinstance(value, ale_py.ALEInterface):
            state["emulator"] = value.cloneState(include_rng=True).serialize()
        elif is_plain(value):
            state["attributes"][name] = _copy(value)
        else:
            missing.append(name)
    return state, missing


def _restore_layer(layer: Any, state: Mapping[str, Any]) -> None:
    if "own" in state:
        layer.set_state(state["own"])
        return
    for name, value in state["attributes"].items():
        setattr(layer, name, value)
    for name, value in state["generators"].items():
        restore_generator(getattr(layer, name), value)
    if "emulator" in state:
        layer.ale.restoreState(ale_py.ALEState(state["emulator"]))


def _copy(value: Any) -> Any:
    """Copy arrays, which environments go on writing into; the rest of plain data is rebuilt around them."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item) for item in value) if type(value) in (list, tuple) else value
    return value
