"""Q-values and an imitation of the data (Fujimoto et al. 2019, discrete): two streams of as many rows."""

from collections.abc import Iterator

from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.skeleton import Skeleton

__all__ = ["recognise"]


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose an imitation beside Q-values where one of two equal heads is called q and the other i."""
    heads = {head: frozenset(seen.own(head)) for head in seen.heads}
    other = next((head for head, own in heads.items() if own == {"i"}), None)
    if other and len(heads) == 2 and len({head.shape[0] for head in heads}) == 1 and {"q"} in heads.values():
        says = f"{other.name} is an imitation of the actions in the data, beside Q-values of as many rows"
        yield Proposal(
            family="batch-constrained-q", name="bcq", what="a batch-constrained Q-network", sees=says,
            witnesses=(Witness("structure", says), Witness("word", says)),
        )  # fmt: skip
