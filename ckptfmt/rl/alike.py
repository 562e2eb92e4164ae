"""What was stored, held against what is live: the same kinds, names and sizes, or an error that names the place.

A state is loaded into objects whose own loaders trust it: torch's fused optimizers write past the end of a
moment of another shape, NumPy's generators read past theirs. So nothing is handed to them that differs in
anything but its numbers from what the live object gives out itself.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
import torch

from ckptfmt.errors import WeightsError, printable
from ckptfmt.format.safetensors import shape_text

__all__ = ["check_alike", "check_names", "check_range", "has_text", "item", "refuse"]

_ARRAYS = (np.ndarray, torch.Tensor)


def check_alike(stored: Any, live: Any, where: str, *, absent: bool = False) -> None:
    """Raise `WeightsError` unless `stored` is of the kinds and sizes of `live`, whatever its numbers are.

    Lists may have another length (tuples may not), mappings whose keys are not text other keys; with `absent` a
    number may be None. What a live object does not hold at the moment (None, an empty list) may be any numbers, but
    no text.
    """
    match live:
        case Mapping():
            _check_mapping(stored, live, where, absent)
        case list() | tuple() | deque():
            _check_sequence(stored, live, where, absent)
        case np.ndarray() | torch.Tensor():
            _check_array(stored, live, where)
        case None:
            if has_text(stored):
                refuse("is text, must be numbers", where)
        # Before numbers: true is one in Python.
        case bool() | np.bool_():
            if not isinstance(stored, bool | np.bool_):
                refuse("must be true or false", where)
        case int() | float() | np.number():
            if not (absent and stored is None) and not _is_number(stored, whole=isinstance(live, int | np.integer)):
                refuse(f"must be a {'whole ' if isinstance(live, int | np.integer) else ''}number", where)
        case _ if type(stored) is not type(live):
            refuse(f"must be {_kind(live)}", where)


def check_range(number: Any, least: float, most: float, where: str) -> None:
    """Raise `WeightsError` unless a number lies between `least` and `most`."""
    if not _is_number(number, whole=False) or math.isnan(number) or not least <= number <= most:
        refuse(f"must be a number from {least:g} to {most:g}", where)


def check_names(stored: Any, live: Mapping[Any, Any], where: str) -> None:
    """Raise `WeightsError` unless a mapping has the very names of `live`."""
    if not isinstance(stored, Mapping):
        refuse("must be a mapping", where)
    if (odd := next(_differing(stored, live), None)) is not None:
        what = "is missing" if odd in live else "is not known here"
        refuse(what, f"{where}/{printable(odd, 60)}")


def item(stored: Any, name: str, where: str) -> Any:
    """Return the value under `name` of a mapping; raise `WeightsError` where there is none."""
    if not isinstance(stored, Mapping) or name not in stored:
        refuse("is missing", f"{where}/{printable(name, 60)}")
    return stored[name]


def has_text(value: Any) -> bool:
    """Return whether text or bytes stand anywhere in plain data."""
    match value:
        case str() | bytes():
            return True
        case Mapping():
            return any(has_text(part) for pair in value.items() for part in pair)
        case list() | tuple() | deque():
            return any(map(has_text, value))
    return False


def refuse(what: str, where: str) -> NoReturn:
    """Raise the error for one wrong value of a state."""
    raise WeightsError(what, where=where, code="state.value")


def _check_mapping(stored: Any, live: Mapping[Any, Any], where: str, absent: bool) -> None:
    if not isinstance(stored, Mapping):
        refuse("must be a mapping", where)
    if any(isinstance(key, str) for key in live):
        check_names(stored, live, where)
    for key, value in stored.items():
        check_alike(value, live.get(key), f"{where}/{printable(key, 60)}", absent=absent)


def _differing(stored: Mapping[Any, Any], live: Mapping[Any, Any]) -> Iterator[Any]:
    yield from (key for key in live if key not in stored)
    yield from (key for key in stored if key not in live)


def _check_sequence(stored: Any, live: Any, where: str, absent: bool) -> None:
    if type(stored) is not type(live):
        refuse(f"must be {_kind(live)}", where)
    if isinstance(live, deque) and stored.maxlen != live.maxlen:
        refuse(f"holds up to {stored.maxlen}, must hold up to {live.maxlen}", where)
    if isinstance(live, tuple) and len(stored) != len(live):
        refuse(f"holds {len(stored)}, must hold {len(live)}", where)
    # Lists of another length are of one kind throughout, as far as the first live item tells.
    models = live if len(live) == len(stored) else [live[0] if live else None] * len(stored)
    for i, (value, model) in enumerate(zip(stored, models, strict=True)):
        check_alike(value, model, f"{where}/{i}", absent=absent)


def _check_array(stored: Any, live: Any, where: str) -> None:
    if not isinstance(stored, _ARRAYS) or isinstance(stored, torch.Tensor) != isinstance(live, torch.Tensor):
        refuse(f"must be {_kind(live)}", where)
    if stored.dtype != live.dtype or tuple(stored.shape) != tuple(live.shape):
        refuse(f"is {_described(stored)}, must be {_described(live)}", where)


def _described(array: Any) -> str:
    return f"{str(array.dtype).removeprefix('torch.')} {shape_text(array.shape)}"


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, int | np.integer) or (not whole and isinstance(value, float | np.floating))


def _kind(live: Any) -> str:
    names = {str: "text", bytes: "bytes", list: "a list", tuple: "a tuple", deque: "a deque", np.ndarray: "an array"}
    return names.get(type(live), "a tensor" if isinstance(live, torch.Tensor) else f"a {type(live).__name__}")
