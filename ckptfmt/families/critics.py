"""Which networks beside a policy are its critics, by what they are called: what it sees and gives, many others take."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from ckptfmt.families.names import words
from ckptfmt.families.outline import Chain, Unit
from ckptfmt.families.vocabulary import MEMBERS, Meaning, meaning

__all__ = ["doubt"]

_CRITIC: frozenset[Meaning] = frozenset({"q", "value", "quantile"})
# `actor_critic.q1` speaks of a policy around a critic.
_PLAIN: frozenset[Meaning] = _CRITIC | {"neutral", "action", "policy"}
# Words that tell one critic from its twin, and such as say nothing of what is valued.
_ALIKE = frozenset({
    "one", "two", "three", "a", "b", "twin", "min", "soft", "redq", "ensemble", "vmap", "central", "centralized",
    "centralised", "joint",
})  # fmt: skip


def doubt(policy: Chain, critics: Sequence[Chain]) -> str:
    """Return why networks may not be critics of one policy for all that their names say, "" where they are.

    Critics of costs, discriminators and models of rewards take the same numbers, and give as many. Without any word
    they are believed where a list holds all networks, since nobody named one of them.
    """
    depth = _depth([policy, *critics])
    if all(_is_listed(critic, depth) for critic in critics):
        return ""
    if silent := next((critic for critic in critics if not _speaks(critic, depth)), None):
        return f"{_name(silent)} takes what a critic of the policy takes, and its name does not say that it is one"
    around = {word for unit in _units(policy) for word in _words(unit, 0)}
    for critic in critics:
        odd = (word for word in _title(critic, depth) if word in MEMBERS or meaning(word) not in _PLAIN)
        if strange := next((word for word in odd if word not in around), ""):
            return f"'{strange}' in {_name(critic)} may say that it values something else than a critic of the policy"
    first, *others = critics
    if other := next((critic for critic in others if _called(critic, depth) != _called(first, depth)), None):
        return f"{_name(first)} and {_name(other)} are called differently, so they may value different things"
    return ""


def _depth(chains: Sequence[Chain]) -> int:
    """Return how many leading pieces the paths of all layers share."""
    paths = [unit.path for chain in chains for unit in _units(chain)]
    return len(list(takewhile(lambda pieces: len({*pieces}) == 1, zip(*paths, strict=False))))


def _is_listed(critic: Chain, depth: int) -> bool:
    """Whether a critic is told by its place in a list alone."""
    said = {meaning(word) for unit in _units(critic) for word in _words(unit, depth)}
    places = {"".join(unit.path[depth : depth + 1]) for unit in _units(critic)}
    return said <= {"neutral"} and len(places) == 1 and places.pop().isdigit()


def _speaks(critic: Chain, depth: int) -> bool:
    return any(meaning(word) in _CRITIC for unit in _units(critic) for word in _words(unit, depth))


def _title(critic: Chain, depth: int) -> Iterator[str]:
    """Yield the words of what the critic lies in, up to what is called one: what its layers are called is their own."""
    for unit in _units(critic):
        for end in range(depth, len(unit.path)):
            if any(meaning(word) in _CRITIC for word in words(unit.path[end])):
                yield from _plain(unit.path[depth : end + 1])
                break


def _called(critic: Chain, depth: int) -> frozenset[str]:
    return frozenset(word for word in _shared(critic, depth) if meaning(word) != "neutral")


def _shared(critic: Chain, depth: int) -> frozenset[str]:
    """Return the words that the paths of all its layers have: those of one layer say nothing of the others."""
    return frozenset.intersection(*(frozenset(_words(unit, depth)) for unit in _units(critic)))


def _words(unit: Unit, depth: int) -> Iterator[str]:
    return _plain(unit.path[depth:])


def _plain(path: Sequence[str]) -> Iterator[str]:
    """Yield the words of a path but for numbers and what may tell a critic from its twin."""
    return (word for piece in path for word in words(piece) if not word.isdigit() and word not in _ALIKE)


def _units(chain: Chain) -> tuple[Unit, ...]:
    return (*chain.units, *chain.heads)


def _name(chain: Chain) -> str:
    return _units(chain)[0].name
