"""What the file says its agent is, where that trains another kind of network."""

from collections.abc import Iterator

from ckptfmt.families.algorithms import Trained, trained_by
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.skeleton import Skeleton

__all__ = ["recognise"]

_KINDS: dict[Trained, tuple[str, str, str]] = {
    "actor-critic": ("actor-critic", "categorical", "an actor-critic"),
    "quantile": ("quantile-q", "quantile", "a quantile network"),
}


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose the kind of network that an agent of this name trains."""
    for agent in seen.agents:
        if found := _KINDS.get(trained_by(agent)):
            family, name, what = found
            says = f"the file says that its agent is '{agent}'"
            yield Proposal(family=family, name=name, what=what, sees=says, witnesses=(Witness("declared", says),))
