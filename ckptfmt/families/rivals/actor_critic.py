"""A policy and a state value, on one trunk or on two, in one dict or in several."""

from collections.abc import Iterator

from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.names import suspicion, words
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.vocabulary import meaning, meanings

__all__ = ["recognise"]

_WHAT = "an actor-critic"


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose an actor-critic for its words, for a value network beside the policy, and for two heads."""
    who, kind = suspicion(seen.shapes, seen.context)
    if kind == "actor-critics":
        says = f"{who} is a name of actor-critics"
        yield _proposal(says, Witness("word", says))
    for path in seen.others:
        if _is_value(path) and not _is_value(" ".join(seen.context)):
            says = f"'{path}' beside it is a state value, and this the policy of it"
            yield _proposal(says, Witness("word", says))
    heads = sorted(seen.heads, key=lambda head: head.shape[0])
    if len(heads) == 2 and heads[0].shape[0] == 1 < heads[1].shape[0]:
        if meanings(seen.own(heads[1])) & {"policy", "action", "mean"}:
            says = f"{heads[1].name} beside {heads[0].name} is named as the actor of an actor-critic is"
            yield _proposal(says, Witness("word", says))
        yield _proposal(f"two heads, of 1 row and of {heads[1].shape[0]}")


def _proposal(sees: str, *witnesses: Witness) -> Proposal:
    return Proposal(family="actor-critic", name="categorical", what=_WHAT, sees=sees, witnesses=witnesses)


def _is_value(text: str) -> bool:
    told = [meaning(word) for word in words(text)]
    return "value" in told and not {"q", "action", "advantage"} & {*told}
