"""Which network tensors make: every family proposes, the rule of claims decides, and a refusal says why."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ckptfmt.families import registry
from ckptfmt.families.answer import Candidate, Classification
from ckptfmt.families.atari_dqn.classify import proposal, read, unwitnessed
from ckptfmt.families.atari_dqn.explain import NO_CONVOLUTION
from ckptfmt.families.atari_dqn.family import FAMILY
from ckptfmt.families.claim import Decision, Misfit, Proposal, decide
from ckptfmt.families.evidence import Facts, Wiring
from ckptfmt.families.rivals import propose
from ckptfmt.families.skeleton import Skeleton, Values

__all__ = ["classify", "tell"]

# A number, or the name of a tensor.
_NAMED = re.compile(r"\d|\w\.\w")

# Layers that are part of other families here: to name one is no reason why a network is none of them.
_KNOWN_ELSEWHERE = ("cell", "norm")


def classify(
    shapes: Mapping[str, Sequence[int]],
    *,
    values: Values | None = None,
    facts: Facts | None = None,
    context: Iterable[str] = (),
    wiring: Wiring | None = None,
) -> Classification:
    """Return which network tensors with these names and shapes are.

    `values` gives the numbers of a small tensor by name; without it v_min and v_max stay unknown. `facts` are
    held against the shapes: a contradiction is a refusal. `context` are texts around the network (where it
    lay, what its agent is called), `wiring` is what a whole module says besides.

    >>> shapes = {"conv.weight": (16, 4, 8, 8), "conv.bias": (16,), "conv2.weight": (32, 16, 4, 4),
    ...           "conv2.bias": (32,), "hidden.weight": (256, 2592), "hidden.bias": (256,),
    ...           "q.weight": (6, 256), "q.bias": (6,)}
    >>> classify(shapes).architecture
    'dqn'
    """
    plain = {str(name): tuple(int(size) for size in shape) for name, shape in shapes.items()}
    return tell(
        Skeleton(
            shapes=plain,
            values=values,
            facts=facts or Facts(),
            context=tuple(context),
            wiring=wiring or Wiring(),
        )
    )


def tell(seen: Skeleton) -> Classification:
    """Return which network a skeleton is, held against all that it could be besides."""
    answer = read(seen)
    own = proposal(answer.chosen) if answer.chosen else None
    mine, kinds = ([own] if own else []), propose(seen)
    found = list(_registered(seen, all_of_ours=not _stands_alone(own, kinds)))
    registered = [item for item in found if not isinstance(item, Misfit)]
    # A family that rebuilds all of a file explains more than a kind that is recognised by a part of it.
    whole = decide([*mine, *(other for other in registered if other.candidate is not None and not other.is_plugged_in)])
    if whole.claimed is not None and whole.claimed is not own and _may_be(whole.claimed, seen):
        return _claimed(whole.claimed.candidate, whole.claimed, assumed=whole.assumed)
    others = [*kinds, *registered]
    decision = decide([*mine, *others])
    if (claimed := decision.claimed) is not None and claimed.candidate is not None and _may_be(claimed, seen):
        return _claimed(claimed.candidate, claimed, assumed=decision.assumed)
    if answer.chosen is not None and own is not None:
        return _contested(answer.chosen, own, decision, seen)
    if seen.facts.architecture:
        return answer
    misfits = [item for item in found if isinstance(item, Misfit)]
    if apart := [misfit for misfit in misfits if "key" in misfit.options]:
        # Networks that may or may not belong together: what each is alone is no answer for the file.
        nearest = _furthest(apart)
        return replace(answer, refusal=nearest.why, options=nearest.options)
    if answer.candidates:
        strong = next((other for other in others if other.strength), None)
        return _refused(answer, strong, misfits) if strong else answer
    return _between(decision) or _nearest(answer, misfits, seen)


def _nearest(answer: Classification, misfits: Sequence[Misfit], seen: Skeleton) -> Classification:
    """Say what failed in the family that had found a place for the most tensors."""
    if not misfits:
        return answer
    nearest = _furthest(misfits)
    # Of what sees frames, why it is no Atari DQN says more, but where a family knows what an Atari DQN has not.
    known = nearest.placed and any(layer.kind in _KNOWN_ELSEWHERE for layer in seen.layers)
    if answer.refusal != NO_CONVOLUTION and not known:
        return answer
    if nearest.options:
        return replace(answer, refusal=nearest.why, options=nearest.options)
    return replace(answer, refusal=f"no family of networks fits it: {nearest.why}")


def _furthest(misfits: Sequence[Misfit]) -> Misfit:
    # What one more fact would decide is next to told. Of families that came as far, a tensor or a number says more.
    return max(misfits, key=lambda misfit: (bool(misfit.options), misfit.placed, bool(_NAMED.search(misfit.why))))


def _may_be(claimed: Proposal, seen: Skeleton) -> bool:
    """Whether a claim may stand beside what a person, or the file, says the architecture is."""
    said = seen.facts.architecture
    return claimed.family == FAMILY.name or said in (None, claimed.name, f"{claimed.family}/{claimed.name}")


def _stands_alone(own: Proposal | None, kinds: Sequence[Proposal]) -> bool:
    """Whether all tensors are those of an Atari DQN, and no kind that shares its shapes has a witness."""
    return own is not None and not any(kind.strength for kind in kinds)


def _registered(seen: Skeleton, *, all_of_ours: bool) -> Iterator[Proposal | Misfit]:
    """Yield what the installed families propose; the one whose refusals are told in full was read before.

    Without `all_of_ours` only those of other packages are asked: what one of ours could have a witness for is among
    the kinds, and to import all of them takes a fifth of a conversion of 6.7 MB.
    """
    for family in registry.recognising(ours=all_of_ours):
        if family is not FAMILY:
            yield from registry.proposals(family, seen)


def _claimed(chosen: Candidate, own: Proposal, *, assumed: bool) -> Classification:
    if assumed:
        origin = {**chosen.origin, "architecture": "assumed"}
        chosen = replace(chosen, origin=origin, against=(*chosen.against, own.assumes))
    return Classification(chosen=chosen, candidates=(chosen,))


def _contested(chosen: Candidate, own: Proposal, decision: Decision, seen: Skeleton) -> Classification:
    """Say what rivals the claim: a kind that has a witness, or one that explains the shapes as well."""
    rivals = [decision.claimed] if decision.claimed else [rival for rival in decision.rivals if rival is not own]
    rival = rivals[0] if rivals else None
    doubtful = (replace(chosen, against=(*chosen.against, rival.sees if rival else "")),)
    if rival and rival.strength > own.strength:
        return _refused(Classification(candidates=doubtful), rival)
    if rival and rival.strength:
        said = f"{rival.sees}, and {own.witnesses[0].says}: it may be {rival.what} or {own.what}"
        return Classification(candidates=doubtful, refusal=said, options=rival.decides)
    return Classification(candidates=doubtful, refusal=unwitnessed(chosen, seen), options=own.decides)


def _between(decision: Decision) -> Classification | None:
    """Name the two kinds that explain a network as well, where they are families that could rebuild it."""
    able = {rival.family: rival for rival in reversed(decision.rivals) if rival.candidate is not None}
    if len(able) < 2:
        return None
    other, one = [*able.values()][-2:]
    said = f"{one.sees}, and {other.sees}: it may be {one.what} or {other.what}"
    return Classification(candidates=(one.candidate, other.candidate), refusal=said, options=one.decides)


def _refused(answer: Classification, rival: Proposal, misfits: Sequence[Misfit] = ()) -> Classification:
    """Say what speaks for the rival, and what kept the family that came furthest from being it, if one came far."""
    nearest = _furthest(misfits) if misfits else None
    but = nearest.why if nearest and nearest.placed else f"it has the shapes of {answer.candidates[0].name}"
    return Classification(candidates=answer.candidates, refusal=f"{rival.sees}; {but}")
