"""The support of a distributional network: which tensor it is, and what its values say."""

import struct
from collections.abc import Mapping, Sequence
from typing import Protocol

from ckptfmt.families.atari_dqn.fingerprint import Shape
from ckptfmt.families.atari_dqn.topology import Fit
from ckptfmt.families.names import parse, words
from ckptfmt.families.skeleton import Values

__all__ = ["HasSupport", "NoSupport", "atoms", "ends", "find", "is_called_support"]

# Supports in bfloat16 are off by a fifth of a step; atoms in another order or spacing are off by more.
_TOLERANCE = 0.3


# What code bases call a support, by any word of its name, or by all of them.
_SUPPORT = frozenset({"support", "supports", "atom", "atoms", "z", "zs"})
_BINS = frozenset({"bin", "bins", "action", "actions", "symlog", "twohot"})
_RANGE = frozenset({"v", "value", "values", "range", "return", "returns", "distribution"})


class HasSupport(Protocol):
    """A config that may describe a support."""

    @property
    def n_atoms(self) -> int | None:
        """Return how many atoms there are, None for no support."""
        ...

    @property
    def v_min(self) -> float | None:
        """Return the lowest one."""
        ...

    @property
    def v_max(self) -> float | None:
        """Return the highest one."""
        ...


class NoSupport(Exception):
    """The tensor in the place of a support is none; the text says why, `options` what would decide."""

    def __init__(self, why: str, *options: str) -> None:
        super().__init__(why)
        self.options = options


def atoms(config: HasSupport) -> tuple[float, ...]:
    """Return the atoms from v_min to v_max that a network of this config has, as float32 holds them; () for none.

    Every support is made here, so that one network has one identity however it came to be: the linspace of torch
    gives other bits on processors with wider vectors, and others than NumPy's.
    """
    if config.n_atoms is None or config.v_min is None or config.v_max is None:
        return ()
    step = (config.v_max - config.v_min) / max(config.n_atoms - 1, 1)
    exact = [config.v_min + step * i for i in range(config.n_atoms - 1)] + [config.v_max]
    # One atom is the lower end.
    exact = exact if config.n_atoms > 1 else [config.v_min]
    return struct.unpack(f"<{config.n_atoms}f", struct.pack(f"<{config.n_atoms}f", *exact))


def find(fit: Fit, shapes: Mapping[str, Shape], values: Values | None) -> str:
    """Return the name of the support of a fit, "" if it has none or it cannot be told from noise buffers."""
    if fit.support is None:
        return ""
    names = [name for name, shape in shapes.items() if shape == fit.support]
    if len(names) > 1 and values is not None:
        names = [name for name in names if _even(values(name))] or names
    if len(names) > 1:
        names = [name for name in names if parse(name).part is None and parse(name).kind is None]
    return names[0] if len(names) == 1 else ""


def is_called_support(name: str) -> bool:
    """Whether a name is one of a support: rising numbers in even steps are bins of actions or of returns as well."""
    said = {*words(name.replace("/", ".").rpartition(".")[2])}
    if said & _BINS:
        return False
    return bool(said & _SUPPORT) or (len(said) > 1 and said <= _RANGE)


def ends(name: str, values: Values, *, known: bool = False) -> tuple[float, float]:
    """Return the first and last value of a support.

    Raises `NoSupport` unless they rise in even steps, and where the name says nothing of a support, unless it is
    `known` that there is one.
    """
    if not known and not is_called_support(name):
        raise NoSupport(
            f"{name} may hold the atoms of returns, bins or choices of actions, and its name does not say",
            "n_atoms",
            "architecture",
        )
    found = list(values(name))
    if not _even(found):
        raise NoSupport(f"the values of {name} do not rise in even steps as a support's do")
    if _are_levels(found):
        raise NoSupport(f"the values of {name} lie between 0 and 1 as quantile levels do")
    return float(found[0]), float(found[-1])


def _even(values: Sequence[float]) -> bool:
    if len(values) < 2 or not values[0] < values[-1]:
        return False
    step = (values[-1] - values[0]) / (len(values) - 1)
    return all(abs(value - values[0] - i * step) <= _TOLERANCE * step for i, value in enumerate(values))


def _are_levels(values: Sequence[float]) -> bool:
    """Quantile levels (Dabney et al. 2018) are i/N or the middles between them."""
    # The ends lie at most one and a half steps of 1/N from 0 and 1, rounding among it.
    return values[0] >= 0 and values[-1] <= 1 and values[0] <= 1.5 / len(values) and values[-1] >= 1 - 1.5 / len(values)
