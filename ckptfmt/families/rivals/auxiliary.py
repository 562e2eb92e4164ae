"""What is trained beside or before an agent: encoders, models of rewards and of the world, projections."""

from collections.abc import Iterator

from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.names import suspicion
from ckptfmt.families.skeleton import Skeleton

__all__ = ["recognise"]


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose an auxiliary network for its words."""
    who, kind = suspicion(seen.shapes, seen.context)
    if kind == "something beside or before a Q-network":
        says = f"{who} is a name of {kind}"
        yield Proposal(
            family="auxiliary", name="auxiliary", what="a network beside the agent", sees=says,
            witnesses=(Witness("word", says),),
        )  # fmt: skip
