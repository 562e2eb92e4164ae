"""Settings beside weights: arguments of command lines, hyper-parameters, a config; what they say of the network.

They are the file's own text, so they settle what weights and names leave open. They contradict nothing: a run's
settings often name what its network does not use.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.convert.actions import actions_said
from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.evidence import Facts

__all__ = ["agents_of", "environment_of", "facts_of", "image_shape", "merged"]

_HOLDERS = (
    *("args", "cfg", "config", "hparams", "hyper_parameters", "hyperparameters", "hyperparams", "params"),
    *("settings", "training_config", "policy_kwargs", "env_kwargs", "init_dict"),
)
_NUMBERS = {
    "n_atoms": ("n_atoms", "num_atoms", "atoms", "atom_size"),
    "v_min": ("v_min", "vmin", "V_min", "Vmin"),
    "v_max": ("v_max", "vmax", "V_max", "Vmax"),
    "n_action": ("n_action", "n_actions", "num_actions", "action_size", "action_dim"),
    "input_scale": ("input_scale",),
}
_WHOLE = frozenset({"n_atoms", "n_action"})
# Fields of families beside the Atari DQNs.
_QUANTILES = ("n_quantiles", "num_quantiles", "n_quants", "num_quants", "quantiles", "n_quantile")
_ACTIVATIONS = ("activation", "activation_fn", "activation_function", "nonlinearity", "act_fn")
_SHAPES = ("input_shape", "obs_shape", "observation_shape", "state_shape", "state_dim", "obs_dim")
# How code bases that let one choose call the ways of `dueling_join`.
_JOINS = ("dueling_join", "dueling_type", "dueling_mode")
_JOINED = {"mean": "mean", "avg": "mean", "average": "mean", "max": "max", "sum": "sum", "naive": "sum"}
# What settings call the game that was played.
_GAMES = ("env_id", "env_name", "environment", "env", "game", "rom", "task")
# ALE/Pong-v5, gym-1:my.Env-v0; what is longer than 80 characters, or has spaces, is prose.
_GAME_ID = re.compile(r"[A-Za-z][\w./:+-]{2,79}")
# Where code bases write what their agent is called, or the program that trains it.
_AGENT = (
    *("agent_name", "agent", "agent_class", "algo", "algo_name", "algorithm", "algorithm_name", "alg", "model_name"),
    *("model_class", "policy_class", "exp_name"),
)
_NAMES = ("class", "_target_", "name", "id", "type")
# Settings that only agents have which learn Q-values.
_SWITCHES = ("double_dqn", "dueling", "dueling_dqn", "use_dueling", "use_double_dqn")
# A dotted path of a class fits; what is longer is prose.
_LONGEST_NAME = 120
# Settings lie in settings of settings (trainer, agent, algorithm, config) and no deeper in the files that were seen.
_DEEPEST = 4


def merged(plain: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return the settings that lie beside a network in one dict, those of inner groups over those of outer ones."""
    found: dict[str, Any] = {name: value for name, value in plain.items() if name not in _HOLDERS}
    for name in _HOLDERS if depth < _DEEPEST else ():
        if isinstance(plain.get(name), dict):
            found |= merged(plain[name], depth + 1)
    return found


def facts_of(settings: Mapping[str, Any]) -> Facts:
    """Return what settings say of the network: sizes, the ends of a support, scaling, the join of two streams."""
    found: dict[str, Any] = {}
    for name, spellings in _NUMBERS.items():
        said = next((settings[word] for word in spellings if word in settings), None)
        if type(said) is int or (type(said) is float and name not in _WHOLE):
            found[name] = said
    if (shape := next(filter(None, (image_shape(settings.get(word)) for word in _SHAPES)), None)) is not None:
        found["input_shape"] = shape
    if (scale := _scale(settings)) is not None:
        found.setdefault("input_scale", scale)
    if found.get("input_scale", 1) <= 0:
        del found["input_scale"]
    join = next((settings[word] for word in _JOINS if isinstance(settings.get(word), str)), "")
    if join in _JOINED:
        found["dueling_join"] = _JOINED[join]
    actions, counts = actions_said(settings, environment_of(settings).get("id", ""))
    if (count := counts.pop("n_action", None)) is not None:
        found["n_action"] = count
    more = _more(settings) | counts
    return Facts(**found, actions=actions, more=more, declared=frozenset(found) | more.keys())


def _more(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    count = next((settings[word] for word in _QUANTILES if type(settings.get(word)) is int), 0)
    if count > 1:
        found["n_quantiles"] = count
    said = next((settings[word] for word in _ACTIVATIONS if isinstance(settings.get(word), str)), "")
    # `nn.Tanh` and `torch.nn.functional.relu` are called by their last word.
    if (name := said.rpartition(".")[2].lower()) in ACTIVATIONS:
        found["activation"] = name
    return found


def agents_of(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what settings call their agent, by its name or its class, and what they switch on that only some have."""
    for item in map(said.get, _AGENT):
        name = _named(item)
        if name and len(name) <= _LONGEST_NAME:
            yield name
    yield from (name for name in _SWITCHES if said.get(name) is True)


def environment_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the game that settings name, if its name may be the id of one."""
    said = (_named(settings.get(name)) for name in _GAMES)
    return next(({"id": game} for game in said if _GAME_ID.fullmatch(game)), {})


def _named(item: Any) -> str:
    """Return a name, or the one that a group of settings gives itself."""
    if isinstance(item, dict):
        item = next((item[word] for word in _NAMES if isinstance(item.get(word), str)), "")
    return item if isinstance(item, str) else ""


def image_shape(shape: Any) -> tuple[int, int, int] | None:
    """Return channels, height and width of an image, whichever comes first in a shape."""
    # `type` and not `isinstance`: true is a whole number in Python.
    if not isinstance(shape, list | tuple) or len(shape) != 3 or not all(type(n) is int and n > 0 for n in shape):
        return None
    first, second, third = shape
    # Stacks of frames are thinner than screens are wide, so the smaller end are the channels.
    return (first, second, third) if first <= third else (third, first, second)


def _scale(settings: Mapping[str, Any]) -> float | None:
    """Return the divisor that libraries apply by a setting: Stable-Baselines3 to images, d3rlpy by its scaler."""
    if isinstance(images := settings.get("normalize_images"), bool):
        # Pixels are bytes: to divide by 255 brings them to 0 to 1.
        return 255.0 if images else 1.0
    scaler = _named(settings.get("observation_scaler")) or settings.get("scaler", settings.get("observation_scaler"))
    if scaler == "pixel":
        return 255.0
    # Of d3rlpy alone no scaler means no scaling; other libraries have no such setting.
    of_d3rlpy = "q_func_factory" in settings and {"scaler", "observation_scaler"} & set(settings)
    return 1.0 if of_d3rlpy and scaler is None else None
