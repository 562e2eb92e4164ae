"""A policy and critics of action values: one of the critics has all the shapes of a Q-network."""

from collections.abc import Iterator

from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.names import words
from ckptfmt.families.skeleton import Skeleton

__all__ = ["recognise"]

_ACTORS = frozenset({"actor", "actors", "pi", "policy"})


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose a critic wherever the file holds an actor beside it, or a second network of the same shapes."""
    own = sorted(seen.shapes.values())
    for path, shapes in seen.others.items():
        if shapes.words & _ACTORS or _ACTORS.intersection(words(path)):
            yield _proposal(f"the file holds an actor beside it ('{path}'), of which it is the critic")
        elif shapes.sizes == own:
            yield _proposal(f"the file holds a second network of the same shapes ('{path}')")


def _proposal(says: str) -> Proposal:
    return Proposal(
        family="actor-q",
        name="categorical+q",
        what="one of the critics of an actor",
        sees=says,
        witnesses=(Witness("structure", says),),
        decides=("key", "architecture"),
    )
