"""One step of an environment, and the first sight of the next episode where it ended one."""

from abc import ABC, abstractmethod
from typing import Any

from ckptfmt.format.record import record

__all__ = ["Elsewhere", "Played", "play"]


@record
class Played:
    """What came of an action: `after` is what was seen then, `following` what the next action is chosen by."""

    after: Any
    reward: float
    terminated: bool
    truncated: bool
    following: Any


class Elsewhere(ABC):
    """An environment that lives in another process, where its state is taken and put back.

    A class and no protocol: an environment of this process may have methods of these names that mean something else.
    """

    @abstractmethod
    def capture(self) -> tuple[list[Any], tuple[str, ...]]:
        """Return its state and what of it cannot be stored, as `capture_env` does."""

    @abstractmethod
    def restore(self, captured: Any, where: str) -> None:
        """Set it to a state, as `restore_env` does."""


def play(env: Any, action: int) -> Played:
    """Take a step, and begin a new episode where it ended one."""
    after, reward, terminated, truncated, _ = env.step(action)
    following = env.reset()[0] if terminated or truncated else after
    return Played(after, float(reward), bool(terminated), bool(truncated), following)
