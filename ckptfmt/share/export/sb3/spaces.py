"""Spaces of gymnasium: the call of a constructor that makes each, and its attributes as text beside it."""

import math
from collections.abc import Mapping
from typing import Any

from ckptfmt.format.record import record
from ckptfmt.share.export.opcodes import Call, Name

__all__ = ["Space", "box", "choices", "discrete", "told"]

# What a manifest calls a dtype becomes a name in a pickle, so that these are all that there are.
_DTYPES = ("float32", "float64", "float16", "uint8", "int8", "int16", "int32", "int64")
# The most bounds that stand in a zip one by one.
_MOST = 10_000


@record
class Space:
    """A space; `attributes` are those that Stable-Baselines3 writes as text, for readers that run nothing."""

    call: Call
    attributes: Mapping[str, Any]
    is_bounded: bool = True


def box(shape: tuple[int, ...], low: Any, high: Any, dtype: str = "float32") -> Space:
    """Return the space of arrays between two bounds, each a number or a list of one for each element."""
    ends = [_array(end, dtype) if isinstance(end, list) else end for end in (low, high)]
    said = {"low_repr": _text(low), "high_repr": _text(high)}
    call = Call(Name("gymnasium.spaces.box", "Box"), (*ends, shape, Name("numpy", dtype)))
    bounds = [end for one in (low, high) for end in (one if isinstance(one, list) else [one])]
    return Space(call, {"dtype": dtype, "_shape": list(shape), **said}, all(map(math.isfinite, bounds)))


def discrete(count: int) -> Space:
    """Return the space of one action of `count`."""
    return Space(Call(Name("gymnasium.spaces.discrete", "Discrete"), (count,)), {"n": str(count)})


def choices(counts: tuple[int, ...]) -> Space:
    """Return the space of one action of each of several choices."""
    call = Call(Name("gymnasium.spaces.multi_discrete", "MultiDiscrete"), (list(counts),))
    return Space(call, {"nvec": f"[{' '.join(map(str, counts))}]"})


def told(said: Any, size: int) -> Space | None:
    """Return a space of `size` numbers that a manifest describes; None where it does not, or describes another."""
    if not isinstance(said, Mapping):
        return None
    kind = str(said.get("class", ""))
    if kind.endswith(".Discrete") and said.get("n") == size:
        return discrete(size)
    dtype, low, high = said.get("dtype"), _ends(said.get("low"), size), _ends(said.get("high"), size)
    if not kind.endswith(".Box") or said.get("shape") != [size] or dtype not in _DTYPES or None in (low, high):
        return None
    return box((size,), low, high, dtype)


def _ends(text: Any, size: int) -> Any:
    """Return the bounds that the text of an array holds, None where it holds another number of them."""
    # A number that Python writes has 24 characters at most.
    if not isinstance(text, str) or len(text) > 32 * _MOST:
        return None
    try:
        found = [float(word) for word in text.strip("[]").split()]
    except ValueError:
        return None
    if len(found) not in (1, size) or any(map(math.isnan, found)):
        return None
    return found[0] if len(found) == 1 else found


def _array(numbers: list[float], dtype: str) -> Call:
    return Call(Name("numpy", "array"), (numbers, Name("numpy", dtype)))


def _text(end: Any) -> str:
    return f"[{' '.join(map(str, end))}]" if isinstance(end, list) else str(end)
