"""Algorithms by their names: what kind of network the one trains that a file says its agent is.

A name is the file's own word for what it holds. It settles what heads give where shapes and names leave that open,
and weighs more than the names of layers; it says nothing of sizes.
"""

import re
from typing import Literal

from ckptfmt.families.names import words

__all__ = ["Trained", "trained_by"]

Trained = Literal["q", "actor-critic", "quantile", ""]

_Q = frozenset({
    "dqn", "ddqn", "dddqn", "drqn", "rdqn", "mdqn", "dqfd", "deepq", "qlearning", "qlearner", "qnet", "qnetwork",
    "rainbow", "dueling", "duelling", "noisynet",
})  # fmt: skip
_ACTORS = frozenset({
    "ppo", "appo", "ippo", "mappo", "acer", "acktr", "trpo", "vpg", "reinforce", "impala", "sac", "sacd", "ddpg",
    "maddpg", "awr", "awac", "actor", "critic", "pg", "policygradient", "vtrace", "alphazero",
})  # fmt: skip
_QUANTILES = frozenset(["qr", "qrdqn", "iqn", "fqf", "quantile", "quantiles"])
_KINDS: dict[Trained, frozenset[str]] = {"q": _Q, "actor-critic": _ACTORS, "quantile": _QUANTILES}
# Names whose digits `words` would part from their letters.
_CODES: tuple[tuple[re.Pattern[str], Trained], ...] = (
    (re.compile(r"(?<![a-z])(c51|r2d2)(?![a-z0-9])", re.IGNORECASE), "q"),
    (re.compile(r"(?<![a-z])(g?a[23]c|td3|d4pg)(?![a-z0-9])", re.IGNORECASE), "actor-critic"),
)


def trained_by(text: str) -> Trained:
    """Return what an agent of this name trains; "" where its name says nothing, or two things.

    >>> trained_by("agents.DuelingDQN"), trained_by("QR-DQN"), trained_by("ppo_atari"), trained_by("agent")
    ('q', 'quantile', 'actor-critic', '')
    """
    said = {*words(text)}
    told: set[Trained] = {kind for code, kind in _CODES if code.search(text)}
    told |= {kind for kind, names in _KINDS.items() if said & names}
    if "quantile" in told:
        told.discard("q")
    return told.pop() if len(told) == 1 else ""
