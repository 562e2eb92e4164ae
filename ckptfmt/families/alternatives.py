"""What the fields that weights never show may be: the values that are tried where something else can decide."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from typing import Any

from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.format.document import fields_of

__all__ = ["alternatives", "variants"]

# The likelier first; of a range these are what the code bases that were seen clamp to.
_VALUES: Mapping[str, tuple[Any, ...]] = {
    "input_scale": (255.0, 1.0),
    "activation": ("relu", "tanh", *(name for name in ACTIVATIONS if name not in ("relu", "tanh"))),
    "squash": ("tanh", "none"),
    # Two is the torque of Pendulum, by which tutorials multiply.
    "action_scale": (1.0, 2.0),
    "deviation_is": ("log", "plain"),
    "deviation_range": (None, (-20.0, 2.0), (-5.0, 2.0), (-20.0, 20.0)),
    "critic_join": ("min", "mean"),
    "deviation_bound": ("clamp", "tanh"),
    "dueling_join": ("mean", "max", "sum", "inverted"),
    "order": ("action", "quantile"),
    "first_cosine": ("1", "0"),
}
_OF_DEVIATIONS = ("deviation_is", "deviation_range", "deviation_bound")
_OF_REAL_ACTIONS = ("squash", "action_scale")
# Each is a network that is made and asked for its answers; a policy with everything open would have thousands.
_MOST = 512


def alternatives(config: Any, names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """Return what each of some fields of a config may be, its own value first; fields that have no trace left out.

    An encoder may have other activations; its strides and paddings are those that fit its screen.
    """
    known, shown = fields_of(type(config)), {}
    for name in names:
        if name in known and (name in _VALUES or name == "encoder") and _matters(config, name):
            own = getattr(config, name)
            values = _VALUES.get(name) or tuple(replace(own, activation=act) for act in _VALUES["activation"])
            shown[name] = (own, *(value for value in values if value != own))
    return shown


def variants(config: Any, names: Iterable[str]) -> Iterator[Any]:
    """Yield the config with every combination of what some of its fields may be, the likelier first."""
    found = alternatives(config, names)
    for values in islice(product(*found.values()), _MOST):
        yield config.replace(**dict(zip(found, values, strict=True)))


def _matters(config: Any, name: str) -> bool:
    """Whether a field changes any answer of this very network."""
    if name == "dueling_join":
        return bool(getattr(config, "dueling", getattr(config, "dueling_dqn", True)))
    if name == "critic_join":
        return config.n_critics is not None
    if name == "activation":
        blocks = (block for _, body in config.bodies() for block in body)
        return hasattr(config, "n_cosines") or any(getattr(block, "activation", "") is None for block in blocks)
    if name == "input_scale":
        # Features are no pixels: nothing divides them by 255.
        return len(config.input_shape) == 3
    if name in _OF_DEVIATIONS:
        return bool(config.deviation != "none")
    if name in _OF_REAL_ACTIONS:
        return config.policy in ("gaussian", "deterministic") and not (name == "action_scale" and config.saved_scale)
    return True
