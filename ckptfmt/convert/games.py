"""What the actions of a game are: a network of another number plays another game, or one with actions of its own."""

import re

__all__ = ["actions_of", "has_real_actions"]

# All actions of the Arcade Learning Environment: who plays with the full set has as many in every game.
_FULL = 18
# The minimal action sets of the Arcade Learning Environment, and of gymnasium's classic games.
_ACTIONS = {
    3: "backgammon freeway skiing acrobot mountaincar",
    4: "atlantis atlantis2 blackjack breakout casino kaboom lunarlander",
    5: "frogger pacman surround tetris videocheckers",
    6: """airraid basicmath bowling carnival demonattack galaxian kingkong namethisgame pong pooyan qbert sirlancelot
        spaceinvaders upndown""",
    7: "assault",
    8: "gopher phoenix tutankham",
    9: "asterix beamrider crazyclimber enduro koolaid lostluggage mspacman videopinball",
    10: "amidar mrdo othello tictactoe3d timepilot videochess wizardofwor",
    12: "turmoil",
    14: "asteroids keystonekapers kungfumaster",
    16: "journeyescape",
    2: "cartpole",
}
_COUNTS = {name: count for count, names in _ACTIONS.items() for name in names.split()}
_CLASSIC = frozenset({"acrobot", "mountaincar", "lunarlander", "cartpole"})
# Environments whose actions are real numbers: MuJoCo's, PyBullet's (HopperBulletEnv), and gymnasium's others.
_REAL = frozenset({
    "ant", "halfcheetah", "hopper", "humanoid", "humanoidstandup", "inverteddoublependulum", "invertedpendulum",
    "inverteddoublependulumswingup", "invertedpendulumswingup", "pusher", "reacher", "swimmer", "walker2d", "pendulum",
    "bipedalwalker", "bipedalwalkerhardcore", "lunarlandercontinuous", "mountaincarcontinuous", "thrower", "striker",
})  # fmt: skip
_BULLET = re.compile(r"(mujoco|py)?bullet(env)?$")
# What ids of gymnasium add to a game's name: PongNoFrameskip-v4 is Pong, and so is Pong-ramDeterministic-v0.
_ENDING = re.compile(r"(-?ram)?(noframeskip|deterministic)?(-v[0-9]+)?$")


def actions_of(game: str) -> tuple[int, ...]:
    """Return the numbers of actions that a game is played with, () for a game that is not known here.

    >>> actions_of("PongNoFrameskip-v4"), actions_of("ALE/Breakout-v5"), actions_of("Doom")
    ((6, 18), (4, 18), ())
    """
    name = _plain(game)
    if name not in _COUNTS:
        return ()
    return (_COUNTS[name],) if name in _CLASSIC else (_COUNTS[name], _FULL)


def has_real_actions(game: str) -> bool:
    """Return whether a game is known to be played with real numbers.

    >>> has_real_actions("Walker2d-v4"), has_real_actions("dm_control/walker-walk-v0"), has_real_actions("CartPole-v1")
    (True, True, False)
    """
    if game.lower().startswith(("dm_control/", "dmc_", "dmc-", "dmc:")):
        return True
    return _BULLET.sub("", _plain(game)) in _REAL


def _plain(game: str) -> str:
    """Return a game's name in small letters, without what ids of gymnasium add."""
    return re.sub(r"[^a-z0-9]", "", _ENDING.sub("", game.strip().lower().rpartition("/")[2]))
