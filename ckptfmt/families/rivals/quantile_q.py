"""Quantiles of the return: the shapes of a distributional network, without a support."""

from collections.abc import Iterator

from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.names import suspicion
from ckptfmt.families.skeleton import Skeleton

__all__ = ["recognise"]

# Dabney et al. 2018 use 200; the other counts are those of code bases.
_USUAL = (200, 51, 50, 32, 64, 25, 10)


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose quantiles for their words, and wherever the rows of a head can be split into them."""
    who, kind = suspicion(seen.shapes, seen.context)
    if kind == "quantile networks":
        says = f"{who} is a name of quantile networks"
        yield _proposal(says, Witness("word", says))
    # More rows than the Arcade Learning Environment has actions.
    elif any(rows > 18 and rows % usual == 0 for rows in _rows(seen) for usual in _USUAL):
        yield _proposal("a head whose rows can be actions times quantiles")


def _rows(seen: Skeleton) -> list[int]:
    return [head.shape[0] for head in seen.heads]


def _proposal(sees: str, *witnesses: Witness) -> Proposal:
    return Proposal(family="quantile-q", name="quantile", what="a quantile network", sees=sees, witnesses=witnesses)
