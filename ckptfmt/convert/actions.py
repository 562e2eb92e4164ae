"""What settings say an agent's actions are: real numbers, one of n, one of n for each of several choices, switches.

`action_dim` and `action_size` count actions of either kind, so that they say none.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.convert.games import has_real_actions
from ckptfmt.families.evidence import Actions
from ckptfmt.families.names import words

__all__ = ["actions_said"]

# In a name beside "continuous" or "discrete": has_continuous_action_space, is_discrete, use_continuous_actions.
_ABOUT = frozenset(
    {"has", "is", "use", "action", "actions", "space", "spaces", "control", "env", "type", "kind", "mode"}
)
_SPACES = frozenset({"action", "act", "space", "type", "kind", "mode"})
_SIZES = ("action_dim", "act_dim", "action_size", "dim_action", "dim_act")
_CHOICES = ("action_nvec", "nvec", "action_dims")
# What only real actions have: a deviation that is no weight, and ends.
_OF_REAL = ("max_action", "action_bound", "action_scale", "action_low", "action_high", "action_max")
_SPACE = re.compile(r"(?:[\w.]*\.)?(Box|Discrete|MultiDiscrete|MultiBinary)\b(?:\((.*)\))?", re.DOTALL)
_KINDS: Mapping[str, Actions] = {
    "Box": "real", "Discrete": "discrete", "MultiDiscrete": "choices", "MultiBinary": "switches",
}  # fmt: skip
# Nine digits are more than any number of actions has.
_WHOLE = re.compile(r"(?<![\w.-])\d{1,9}(?![\w.])")
# Box(-1.0, 1.0, (5,), float32), and Box(5,) as gym wrote it once.
_SHAPE = re.compile(r"(?:\(|^)(\d{1,9}),(?:\)|$)")


def actions_said(settings: Mapping[str, Any], game: str) -> tuple[Actions | None, dict[str, Any]]:
    """Return the kind of actions that settings say, None where they do not, and how many there are of it.

    A switch for either kind says more than the space, and that more than the environment of this name or than what
    only agents of real actions have.
    """
    kind, counts = _spaced(settings)
    sizes = [settings[name] for name in _SIZES if type(settings.get(name)) is int and settings[name] > 0]
    found = next(_switched(settings), None) or kind
    if found is None and (has_real_actions(game) or any(_is_real(name, item) for name, item in settings.items())):
        found = "real"
    counts = counts if found == kind else {}
    return found, ({"action_dim": sizes[0]} if sizes else {}) | counts


def _switched(settings: Mapping[str, Any]) -> Iterator[Actions]:
    for name, item in settings.items():
        said = {*words(name)}
        for word, yes, no in (("continuous", "real", "discrete"), ("discrete", "discrete", "real")):
            if type(item) is bool and word in said and said <= {word, *_ABOUT}:
                yield yes if item else no  # type: ignore[misc]


def _spaced(settings: Mapping[str, Any]) -> tuple[Actions | None, dict[str, Any]]:
    """Return what a text, or the attributes of a space, say of the actions."""
    for name, item in settings.items():
        if name in _CHOICES and isinstance(item, list) and item and all(type(count) is int for count in item):
            return "choices", {"choices": item}
        if not {*words(name)} <= _SPACES or not {"action", "act"} & {*words(name)}:
            continue
        attributes = item if isinstance(item, dict) else {}
        text = attributes.get("class", "") if attributes else item
        if not isinstance(text, str):
            continue
        if text.lower() in ("continuous", "discrete"):
            return ("real" if text.lower() == "continuous" else "discrete"), {}
        if space := _SPACE.fullmatch(text.strip()):
            return _KINDS[space[1]], _counts(space[1], space[2] or "", attributes)
    return None, {}


def _counts(kind: str, inside: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    numbers = [int(number) for number in _WHOLE.findall(inside)]
    if kind == "Box":
        shape = attributes.get("_shape", attributes.get("shape"))
        sizes = shape if isinstance(shape, list) else [int(size) for size in _SHAPE.findall(inside)]
        return {"action_dim": sizes[0]} if len(sizes) == 1 and type(sizes[0]) is int else {}
    if kind == "Discrete":
        count = attributes.get("n", numbers[0] if numbers else None)
        return {"n_action": count} if type(count) is int and count > 0 else {}
    if kind == "MultiDiscrete" and numbers and all(numbers):
        return {"choices": numbers}
    return {}


def _is_real(name: str, item: Any) -> bool:
    """Whether only an agent of real actions has a setting: `action_std`, or the ends of what it does."""
    if name in _OF_REAL:
        return type(item) is float or (isinstance(item, list) and bool(item))
    return {"action", "std"} <= {*words(name)} and type(item) in (int, float) and item > 0
