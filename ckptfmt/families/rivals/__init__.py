"""Networks that share their shapes with a Q-network: each module proposes one kind, none of them is rebuilt."""

from collections.abc import Callable, Iterator

from ckptfmt.families.claim import Proposal
from ckptfmt.families.rivals import (
    actor_critic,
    actor_q,
    algorithm,
    auxiliary,
    batch_constrained_q,
    policy,
    q_network,
    quantile_q,
    value,
)
from ckptfmt.families.skeleton import Skeleton

__all__ = ["RIVALS", "propose"]

RIVALS: tuple[Callable[[Skeleton], Iterator[Proposal]], ...] = (
    actor_critic.recognise,
    policy.recognise,
    value.recognise,
    actor_q.recognise,
    quantile_q.recognise,
    q_network.recognise,
    batch_constrained_q.recognise,
    auxiliary.recognise,
    algorithm.recognise,
)


def propose(seen: Skeleton) -> list[Proposal]:
    """Return what else a skeleton could be, with the witnesses for it."""
    return [proposal for recognise in RIVALS for proposal in recognise(seen)]
