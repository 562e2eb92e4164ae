"""A state value saved alone: one head of a single row, which chooses nothing."""

from collections.abc import Iterator

from ckptfmt.families.claim import Proposal
from ckptfmt.families.skeleton import Skeleton

__all__ = ["recognise"]


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose a state value wherever the only head has one row."""
    if len(seen.heads) == 1 and seen.heads[0].shape[0] == 1:
        yield Proposal(
            family="value", name="state-value", what="a state value", sees="one head of a single row",
            decides=("n_action",),
        )  # fmt: skip
