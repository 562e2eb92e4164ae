"""What the fields that weights never show may be: the values that are tried where something else can decide."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from typing import Any

from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.atari_dqn.trunk import others
from ckptfmt.families.blocks import Convs
from ckptfmt.families.encoder import Encoder
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
# What moves an action by little, so that only playing, and no comparison of outputs, is worth its variants.
_PLAYED: Mapping[str, tuple[Any, ...]] = {
    "mean_range": (None, (-2.0, 2.0)),
    "normalizer_range": (None, (-5.0, 5.0), (-10.0, 10.0)),
    # rl_games and Stable-Baselines3, skrl and rsl_rl.
    "normalizer_epsilon": (1e-5, 1e-8, 1e-2),
    "n_taus": (32, 8, 64),
}
# Other strides and paddings, the likelier first; each has as many features.
_MOST_WINDOWS = 4
_OF_DEVIATIONS = ("deviation_is", "deviation_range", "deviation_bound")
_OF_REAL_ACTIONS = ("squash", "action_scale")
# Each is a network that is made and asked for its answers; a policy with everything open would have thousands.
_MOST = 512


def alternatives(config: Any, names: Iterable[str], *, by_playing: bool = False) -> dict[str, tuple[Any, ...]]:
    """Return what each of some fields of a config may be, its own value first; fields that have no trace left out.

    An encoder may have other activations. `by_playing` brings what moves an action by little as well, and other strides
    and paddings that make as many features of the same screen.
    """
    known = fields_of(type(config))
    shown: dict[str, tuple[Any, ...]] = {}
    for name in names:
        if name in known and _matters(config, name):
            own = getattr(config, name)
            values = (*_values(own, name, by_playing), *(_windows(config, name) if by_playing else ()))
            found = (own, *(value for value in values if value != own))
            shown |= {name: found} if len(found) > 1 else {}
    return shown


def _values(own: Any, name: str, by_playing: bool) -> tuple[Any, ...]:
    if name == "encoder":
        return tuple(replace(own, activation=activation) for activation in _VALUES["activation"])
    return _VALUES.get(name, _PLAYED.get(name, ()) if by_playing else ())


def _windows(config: Any, name: str) -> Iterator[Any]:
    """Yield what an encoder, or the convolutions that see the screen, may be with other strides and paddings."""
    own = getattr(config, name)
    if len(config.input_shape) != 3:
        return
    screen = config.input_shape[1:]
    if isinstance(own, Encoder):
        yield from (replace(own, convs=convs) for convs in islice(others(own.convs, screen), _MOST_WINDOWS))
    elif name.endswith("trunk") and own and isinstance(own[0], Convs) and (name == "trunk" or not config.trunk):
        for convs in islice(others(own[0].convs, screen), _MOST_WINDOWS):
            yield (replace(own[0], convs=convs), *own[1:])


def variants(config: Any, names: Iterable[str], *, by_playing: bool = False) -> Iterator[Any]:
    """Yield the config with every combination of what some of its fields may be, the likelier first."""
    found = alternatives(config, names, by_playing=by_playing)
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
    if name in ("normalizer_range", "normalizer_epsilon"):
        return bool(config.normalizer != "none")
    if name == "mean_range":
        return bool(config.policy == "gaussian")
    if name == "n_taus":
        return config.n_fractions is None
    if name in _OF_DEVIATIONS:
        return bool(config.deviation != "none")
    if name in _OF_REAL_ACTIONS:
        return config.policy in ("gaussian", "deterministic") and not (name == "action_scale" and config.saved_scale)
    return True
