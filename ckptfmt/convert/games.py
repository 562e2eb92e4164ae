"""How many actions a game has: a network of another number plays another game, or one with actions of its own."""

import re

__all__ = ["actions_of"]

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
# What ids of gymnasium add to a game's name: PongNoFrameskip-v4 is Pong, and so is Pong-ramDeterministic-v0.
_ENDING = re.compile(r"(-?ram)?(noframeskip|deterministic)?(-v[0-9]+)?$")


def actions_of(game: str) -> tuple[int, ...]:
    """Return the numbers of actions that a game is played with, () for a game that is not known here.

    >>> actions_of("PongNoFrameskip-v4"), actions_of("ALE/Breakout-v5"), actions_of("Doom")
    ((6, 18), (4, 18), ())
    """
    plain = _ENDING.sub("", game.strip().lower().rpartition("/")[2])
    name = re.sub(r"[^a-z0-9]", "", plain)
    if name not in _COUNTS:
        return ()
    return (_COUNTS[name],) if name in _CLASSIC else (_COUNTS[name], _FULL)
