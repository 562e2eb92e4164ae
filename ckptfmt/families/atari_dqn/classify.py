"""Which of the eight architectures a state dict holds, with witnesses; or, in one sentence, why it cannot be told."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ckptfmt.families.atari_dqn import contradiction
from ckptfmt.families.atari_dqn.answer import Candidate, Classification
from ckptfmt.families.atari_dqn.candidate import Undecided, build
from ckptfmt.families.atari_dqn.canonical import Assignment, Unplaced, assign
from ckptfmt.families.atari_dqn.explain import misfit, nearest, unusable
from ckptfmt.families.atari_dqn.fingerprint import Fingerprint
from ckptfmt.families.atari_dqn.heads import Reading, readings
from ckptfmt.families.atari_dqn.layouts import Layout
from ckptfmt.families.atari_dqn.layouts import recognise as layout_of
from ckptfmt.families.atari_dqn.support import NoSupport, find
from ckptfmt.families.atari_dqn.topology import Fit, fits
from ckptfmt.families.atari_dqn.witness import assumption, policy_around, witnesses
from ckptfmt.families.claim import Decision, Proposal, decide
from ckptfmt.families.names import stream, words
from ckptfmt.families.rivals import propose
from ckptfmt.families.skeleton import Facts, Skeleton, Values, Wiring

__all__ = ["classify", "recognise", "tell"]

_FAMILY = "atari-dqn"
_DECIDES = ("architecture",)
# A fit, which of its layers is which, and why that cannot be told.
_Placed = tuple[Fit, Assignment | None, str]


def classify(
    shapes: Mapping[str, Sequence[int]],
    *,
    values: Values | None = None,
    facts: Facts | None = None,
    context: Iterable[str] = (),
    wiring: Wiring | None = None,
) -> Classification:
    """Return which architecture tensors of these names and shapes make.

    `values` gives the numbers of a small tensor by name; without it v_min and v_max stay unknown. `facts` are
    held against the shapes: a contradiction is a refusal. `context` are texts around the network (where it
    lay, what its agent is called), `wiring` is what a whole module says besides.

    >>> shapes = {"conv.weight": (16, 4, 8, 8), "conv.bias": (16,), "conv2.weight": (32, 16, 4, 4),
    ...           "conv2.bias": (32,), "hidden.weight": (256, 2592), "hidden.bias": (256,),
    ...           "out.weight": (6, 256), "out.bias": (6,)}
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


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose the one of the eight that a skeleton is, if its shapes, names and facts leave one."""
    answer = _read(seen)
    if answer.chosen:
        yield _proposal(answer.chosen, seen)


def tell(seen: Skeleton) -> Classification:
    """Return which of the eight a skeleton is, held against all that it could be besides."""
    answer = _read(seen)
    if not answer.candidates:
        return answer
    rivals = propose(seen)
    if answer.chosen is None:
        strong = next((rival for rival in rivals if rival.strength), None)
        return _refused(answer, strong) if strong and not seen.facts.architecture else answer
    own = _proposal(answer.chosen, seen)
    decision = decide([own, *rivals])
    if decision.claimed is not own:
        return _contested(answer.chosen, own, decision, seen)
    return _claimed(answer.chosen, own, assumed=decision.assumed)


def _proposal(chosen: Candidate, seen: Skeleton) -> Proposal:
    return Proposal(
        family=_FAMILY,
        name=chosen.name,
        what=f"a Q-network ({chosen.name})",
        sees=chosen.reasons[0],
        witnesses=chosen.witnesses,
        assumes=chosen.assumes,
        decides=_DECIDES,
        candidate=chosen,
    )


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
    return Classification(candidates=doubtful, refusal=_open(chosen, seen), options=_DECIDES)


def _refused(answer: Classification, rival: Proposal) -> Classification:
    return Classification(
        candidates=answer.candidates, refusal=f"{rival.sees}; it has the shapes of {answer.candidates[0].name}"
    )


def _open(chosen: Candidate, seen: Skeleton) -> str:
    """Why a network without a witness is left open, by what it has."""
    if chosen.transform:
        return (
            "one hidden layer with two heads is the shape of a dueling network and of an actor-critic, "
            "and the names do not tell which"
        )
    if "dueling" in chosen.name:
        return (
            "two streams, one of which ends in a single row, are the shapes of a dueling network and of an "
            "actor-critic, and the names do not tell which"
        )
    head = next(placed.source for placed in chosen.placements if placed.name in ("fc.2.weight", "fc.2.weight_mu"))
    called = f"{head} is no name that is known for Q-values"
    if said := policy_around(seen):
        called = f"'{said}' around it speaks of a policy"
    return f"one head is the shape of a Q-network and of a policy, and {called}"


def _read(seen: Skeleton) -> Classification:
    """Return the one network of the eight that the shapes and facts leave, or why there is none."""
    found = Fingerprint(seen.shapes)
    if reason := unusable(found, seen):
        return Classification(refusal=reason)
    compared = fits(found)
    exact = [fit for fit in compared if fit.exact and _plausible(fit, seen)]
    if not exact:
        reason = misfit(found, compared, seen)
        near = (Candidate(name=nearest(compared[0]), against=(reason,)),) if compared else ()
        return Classification(candidates=near, refusal=reason)
    if seen.wiring.stranger:
        named = tuple(Candidate(name=nearest(fit)) for fit in exact[:1])
        return Classification(
            candidates=named,
            refusal=f"its module has {seen.wiring.stranger}, which none of the eight architectures has",
        )
    return _choose(exact, seen)


def _plausible(fit: Fit, seen: Skeleton) -> bool:
    """Two streams of as many rows are a game of one action, or two heads of something else: who says so is believed."""
    if not fit.topology.dueling or len(set(fit.topology.heads)) == 2:
        return True
    return seen.facts.n_action == 1 or any(stream(words(name)) == "advantage" for name in seen.shapes)


def _choose(exact: Sequence[Fit], seen: Skeleton) -> Classification:
    """Names decide between wirings of the same shapes: the one whose layers they describe."""
    placed: list[_Placed] = []
    for fit in exact:
        try:
            placed.append((fit, assign(fit, seen.shapes, find(fit, seen.shapes, seen.values)), ""))
        except Unplaced as e:
            placed.append((fit, None, str(e)))
    able = [item for item in placed if item[1] is not None] or placed
    fit, assignment, why = able[0]
    kinds = {(item[0].topology.streams, item[0].topology.noisy, item[0].support) for item in able}
    if len(kinds) > 1:
        names = tuple(dict.fromkeys(nearest(item[0]) for item in able))
        return Classification(
            candidates=tuple(Candidate(name=name) for name in names),
            refusal=f"these are the shapes of {' and of '.join(names)}, and the names do not tell which",
        )
    return _answer(fit, assignment, why, seen)


def _answer(fit: Fit, assignment: Assignment | None, why: str, seen: Skeleton) -> Classification:
    facts = seen.facts
    layout = layout_of(seen.shapes, fit.topology.hidden, fit.topology.heads[0])
    possible = readings(fit, facts, layout)
    if said := contradiction.find(possible, fit, facts):
        return Classification(candidates=_doubtful(possible, layout), refusal=said)
    reading = possible[0]
    if reading.doubt:
        names = " or ".join(dict.fromkeys(_described(item) for item in possible))
        return Classification(
            candidates=_doubtful(possible, layout),
            refusal=f"could be {names}: {reading.doubt if len(possible) == 1 else possible[-1].doubt}",
            options=tuple(dict.fromkeys(option for item in reversed(possible) for option in item.options)),
        )
    try:
        candidate = build(fit, reading, assignment, seen, layout)
    except NoSupport as e:
        return Classification(candidates=_doubtful(possible, layout), refusal=str(e))
    except Undecided as e:
        return Classification(
            candidates=_doubtful([replace(reading, doubt=str(e))], layout), refusal=str(e), options=e.options
        )
    if not candidate.placements:
        return Classification(candidates=(candidate,), refusal=why)
    witnessed = replace(
        candidate,
        witnesses=witnesses(seen, reading, fit, assignment, layout),
        assumes=assumption(seen, reading),
    )
    return Classification(chosen=witnessed, candidates=(witnessed,))


def _described(reading: Reading) -> str:
    atoms = f" × {reading.n_atoms} atoms" if reading.n_atoms else ""
    return f"{reading.architecture} ({reading.n_action} actions{atoms})"


def _doubtful(possible: Sequence[Reading], layout: Layout | None) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            name=reading.architecture,
            reasons=(reading.reason,),
            against=(reading.doubt,) if reading.doubt else (),
            layout=layout.name if layout else "",
        )
        for reading in possible
    )
