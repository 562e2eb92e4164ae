"""The description of an environment, as it stands in the manifest; needs neither gymnasium nor an emulator."""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, Self

from ckptfmt.errors import CkptError
from ckptfmt.format.record import record
from ckptfmt.rl.described import parse_environment

__all__ = ["PREPROCESSINGS", "Environment"]

PREPROCESSINGS = ("gymnasium", "stable-baselines3", "cleanrl", "ale")


@record(kw_only=True)
class Environment:
    """How the frames that a network sees are made: a gymnasium id, and what is done to its images.

    `frame_skip`, `screen_size` (width and height in pixels, None as they come), `noop_max` and
    `sticky_actions` (a probability) are None for the usual value of the kind of environment: 4, 84, 30 and
    0.25 for Atari games, no change for others. `terminal_on_life_loss` ends an episode with a life, and the game
    goes on in the next one. `fire_reset` presses fire where an episode begins, in games that have the button.
    `preprocessing` is the library whose frames of Atari games these are, one of `PREPROCESSINGS`; `stack_padding`
    is what lies before the first frame of an episode: "reset" repeats it, "zero" is black, None is what that
    library does. `observation_scale` divides the pixels before they reach the network. `wrappers` names what
    lay around an environment and cannot be rebuilt, such as an emulator that skips frames by itself.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    frame_skip: int | None = None
    frame_stack: int = 4
    screen_size: int | tuple[int, int] | None = None
    grayscale: bool = True
    noop_max: int | None = None
    sticky_actions: float | None = None
    terminal_on_life_loss: bool = False
    fire_reset: bool = False
    max_episode_steps: int | None = None
    preprocessing: str = "gymnasium"
    stack_padding: str | None = None
    observation_scale: float = 1.0
    wrappers: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a description from the manifest's `environment`; fields it does not know are left alone."""
        if not isinstance(data.get("id"), str):
            raise CkptError("names no environment", where="$.environment.id", code="environment.unknown")
        parse_environment(data)
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        if isinstance(known.get("screen_size"), list):
            known["screen_size"] = tuple(known["screen_size"])
        return cls(**{**known, "wrappers": tuple(known.get("wrappers", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Return the description as it stands in the manifest."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**data, "kwargs": dict(self.kwargs), "wrappers": list(self.wrappers)}
