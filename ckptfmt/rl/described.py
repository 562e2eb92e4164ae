"""What a checkpoint says of its environment, parsed: types and ranges, and how much a stranger may ask for.

The manifest leaves `environment` free, so that anything can be written down there. What is built from it is not:
a skip of a billion frames, a picture of a terabyte or an argument that names a module come from nobody's training.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ckptfmt.errors import CkptError, printable

__all__ = ["parse_environment", "refuse_untrusted"]

_PLACE = "$.environment"
_Check = Callable[[Any], bool]
# What can be asked of an Atari game beside its frames: numbers that the emulator itself looks at.
_ATARI: Mapping[str, tuple[type, ...]] = {
    "mode": (int,),
    "difficulty": (int,),
    "full_action_space": (bool,),
    "continuous": (bool,),
    "continuous_action_threshold": (int, float),
    "max_num_frames_per_episode": (int,),
}


def _whole(least: int, most: int) -> tuple[_Check, str]:
    return lambda value: type(value) is int and least <= value <= most, f"a whole number from {least:,} to {most:,}"


def _number(least: float, most: float) -> tuple[_Check, str]:
    def check(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(float(value)) and least <= value <= most

    return check, f"a number from {least:g} to {most:g}"


def _or_null(rule: tuple[_Check, str]) -> tuple[_Check, str]:
    return lambda value: value is None or rule[0](value), f"{rule[1]}, or null"


def _is_size(value: Any) -> bool:
    pair = [value, value] if type(value) is int else value
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_whole(1, 4096)[0], pair))


def _is_arguments(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) and name.isidentifier() for name in value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


_FLAG = (lambda value: isinstance(value, bool), "true or false")
# No id of an environment is near as long, and what is refused stands in a sentence.
_TEXT = (lambda value: isinstance(value, str) and len(value) <= 200, "text of at most 200 characters")
# Ranges far beyond what is trained with, and far below what fills memory or never ends: a skip of 1,000 frames is 16
# seconds of a game, and no game has a screen of 4,096 pixels a side.
_FIELDS: Mapping[str, tuple[_Check, str]] = {
    "id": _TEXT,
    "kwargs": (_is_arguments, "an object of named arguments"),
    "frame_skip": _or_null(_whole(1, 1000)),
    "frame_stack": _whole(1, 1000),
    "screen_size": _or_null((_is_size, "a whole number from 1 to 4,096 or two of them")),
    "grayscale": _FLAG,
    "noop_max": _or_null(_whole(0, 10_000)),
    "sticky_actions": _or_null(_number(0, 1)),
    "terminal_on_life_loss": _FLAG,
    "fire_reset": _FLAG,
    # Doubles count no further.
    "max_episode_steps": _or_null(_whole(1, 2**53)),
    "preprocessing": _TEXT,
    "stack_padding": _or_null(_TEXT),
    "observation_scale": _number(1e-9, 1e9),
    "wrappers": (_is_texts, "a list of texts"),
}


def parse_environment(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a description whose known fields have the types and ranges that are built from.

    Raises `CkptError` that names the first field which has not.
    """
    for name, (fits, meaning) in _FIELDS.items():
        if name in data and not fits(data[name]):
            shown = printable(data[name], 60)
            raise _wrong(f"must be {meaning}, not {shown}", f"{_PLACE}.{name}", "environment.value")
    return data


def refuse_untrusted(environment: Any, input_shape: Sequence[int], *, atari: bool) -> None:
    """Raise `CkptError` where an `Environment` out of a checkpoint asks for more than playing its network needs.

    `input_shape` is (channels, height, width) or (features,) of what the network sees.
    """
    first, *sides = input_shape
    if environment.frame_stack > first:
        raise _unfit(f"stacks {environment.frame_stack} frames, the network sees {first}", "frame_stack")
    size = environment.screen_size
    if size is not None and _pair(size) != sides[::-1]:
        seen = f"{sides[1]}x{sides[0]}" if sides else "no images"
        raise _unfit(f"is {size}, the network sees {seen}", "screen_size")
    for name, value in environment.kwargs.items():
        # By exact type: true would pass for a number.
        if value is not None and not (atari and type(value) in _ATARI.get(name, ())):
            raise CkptError(
                f"refused, the environment {environment.id} is given {printable(name, 60)}={printable(value, 60)}",
                where=f"{_PLACE}.kwargs",
                fix="give trust=True where you know who made this checkpoint",
                code="environment.untrusted",
            )


def _pair(size: Any) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


def _unfit(what: str, field: str) -> CkptError:
    return _wrong(what, f"{_PLACE}.{field}", "environment.unfit")


def _wrong(what: str, where: str, code: str) -> CkptError:
    return CkptError(what, where=where, code=code)
