"""Episodes begun and steps taken in an environment: what it gives is checked, and copied out of its hands."""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.record import record

__all__ = ["Elsewhere", "Played", "begin", "end", "failed", "play", "reported", "step"]


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


def begin(env: Any, seed: int | None = None) -> NDArray[Any]:
    """Begin an episode and return what is seen first; raise `CkptError` as `step`."""
    with reported():
        observation, _ = env.reset(seed=seed)
    return _seen(env, observation)


def step(env: Any, action: Any) -> tuple[NDArray[Any], float, bool, bool]:
    """Take a step; return what is seen then, the reward, and whether the episode was terminated or truncated.

    Raises `CkptError` where the environment fails, or gives a number that is not finite.
    """
    with reported():
        after, reward, terminated, truncated, _ = env.step(action)
    if not math.isfinite(reward):
        raise _not_finite(env, f"a reward of {float(reward)}")
    return _seen(env, after), float(reward), bool(terminated), bool(truncated)


def play(env: Any, action: int) -> Played:
    """Take a step, and begin a new episode where it ended one; raise as `step`."""
    after, reward, terminated, truncated = step(env, action)
    return Played(after, reward, terminated, truncated, begin(env) if terminated or truncated else after)


def end(env: Any) -> None:
    """Close an environment; what one raises that is not needed any more stops nobody."""
    with contextlib.suppress(Exception):
        env.close()


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Let what an environment raises while the block runs be a `CkptError`; what has a sentence of its own keeps it."""
    try:
        yield
    except (CkptError, DependencyNotInstalled, MemoryError):
        raise
    except Exception as e:  # an environment may raise anything
        raise failed(e) from e


def failed(error: Exception) -> CkptError:
    """Return the error for what an environment raised."""
    return CkptError(
        f"the environment failed: {printable(str(error), 200)}", where="environment", code="environment.failed"
    )


def _seen(env: Any, observation: Any) -> NDArray[Any]:
    # A copy: an environment may write what it shows next into the same array. Some show another dtype than they say.
    seen = np.array(observation, dtype=env.observation_space.dtype)
    if seen.dtype.kind == "f" and not np.isfinite(seen).all():
        raise _not_finite(env, "an observation that holds NaN or infinity")
    return seen


def _not_finite(env: Any, what: str) -> CkptError:
    spec = env.unwrapped.spec
    return CkptError(
        f"the environment {spec.id if spec else type(env.unwrapped).__name__} gave {what}",
        where="environment",
        fix="mend it: what is learnt from such a number is lost",
        code="environment.number",
    )
