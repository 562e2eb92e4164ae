"""How an evaluation is played: whole games or lives, how random, for how long; with two protocols of the literature."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Self

from ckptfmt.format.record import record
from ckptfmt.rl.environment import Environment

__all__ = ["PROTOCOLS", "Protocol"]

# Hessel et al. 2018 and Dopamine evaluate with it: enough to leave a loop.
_EPSILON = 0.001


@record(kw_only=True)
class Protocol:
    """What decides a return beside the network: in the manifest it stands with every evaluation.

    `epsilon` is the share of random actions, None for a thousandth of those that values are compared for and for no
    other; `sampled` draws actions from the distribution of a policy, whose likeliest one is taken otherwise.
    `max_frames` (of the game, not of the agent) and `max_steps` (actions)
    cut an episode, None never. With `whole_games` an episode ends with the game and not with a life.
    `sticky_actions`, `noop_max`, `fire_reset` and `full_action_space` are those of the environment, None for
    what the agent was trained with. `differs` names in what a protocol with a name could not be followed.
    """

    name: str | None = None
    epsilon: float | None = None
    sampled: bool = False
    # Thirty minutes of a game at 60 frames a second, as Hessel et al. 2018 and most since cut episodes.
    max_frames: int | None = 108_000
    max_steps: int | None = None
    whole_games: bool = True
    sticky_actions: float | None = None
    noop_max: int | None = None
    fire_reset: bool | None = None
    full_action_space: bool | None = None
    differs: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as it stands in the manifest."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "differs": list(self.differs)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a protocol from its manifest form; fields it does not know are left alone."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**{**known, "differs": tuple(known.get("differs", ()))})

    def environment(self, environment: Environment) -> Environment:
        """Return the environment that an agent of `environment` is evaluated in."""
        names = ("sticky_actions", "noop_max", "fire_reset")
        wanted = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.full_action_space is not None:
            wanted["kwargs"] = {**environment.kwargs, "full_action_space": self.full_action_space}
        return replace(environment, **wanted)

    def chance(self, of_values: bool) -> float:
        """Return the share of random actions of a network that gives values of actions, or a policy."""
        return (_EPSILON if of_values else 0.0) if self.epsilon is None else self.epsilon

    def steps(self, frame_skip: int) -> int | None:
        """Return after how many actions, each of `frame_skip` frames, an episode is cut; None for never."""
        limits = [self.max_steps] if self.max_steps is not None else []
        if self.max_frames is not None:
            limits.append(max(1, self.max_frames // frame_skip))
        return min(limits, default=None)

    def played(self, environment: Environment) -> Self:
        """Return the protocol with what was played in place of each None."""
        actions = bool(environment.kwargs.get("full_action_space", False))
        return replace(
            self,
            sticky_actions=environment.sticky_actions,
            noop_max=environment.noop_max,
            fire_reset=environment.fire_reset,
            full_action_space=actions,
        )


# Machado et al. 2018 (JAIR 61, arXiv 1709.06009), section 5: sticky actions make the randomness (5.2, 0.25), all 18
# actions, games that end with the last life; five minutes a game. It reports the games of the training itself and has
# no evaluation apart, so the share of random actions is the one that its agents end with.
# Mnih et al. 2015, methods: up to 30 idle frames, five minutes a game, the actions that a game needs.
PROTOCOLS: Mapping[str, Protocol] = {
    "machado-2018": Protocol(
        name="machado-2018",
        epsilon=0.01,
        max_frames=18_000,
        sticky_actions=0.25,
        noop_max=0,
        fire_reset=False,
        full_action_space=True,
    ),
    "mnih-2015": Protocol(
        name="mnih-2015",
        epsilon=0.05,
        max_frames=18_000,
        sticky_actions=0.0,
        noop_max=30,
        fire_reset=False,
        full_action_space=False,
    ),
}
