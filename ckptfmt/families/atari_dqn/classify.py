"""Which of the eight architectures a state dict holds, with witnesses; or, in one sentence, why it cannot be told."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ckptfmt.families.answer import Candidate, Classification
from ckptfmt.families.atari_dqn import contradiction
from ckptfmt.families.atari_dqn.candidate import Undecided, build
from ckptfmt.families.atari_dqn.canonical import Assignment, Unplaced, assign
from ckptfmt.families.atari_dqn.explain import misfit, nearest, unusable
from ckptfmt.families.atari_dqn.fingerprint import Fingerprint
from ckptfmt.families.atari_dqn.heads import Reading, readings
from ckptfmt.families.atari_dqn.layouts import Layout
from ckptfmt.families.atari_dqn.layouts import recognise as layout_of
from ckptfmt.families.atari_dqn.support import NoSupport, find
from ckptfmt.families.atari_dqn.topology import Fit, fits
from ckptfmt.families.atari_dqn.witness import assumption, something_around, witnesses
from ckptfmt.families.claim import Proposal
from ckptfmt.families.names import stream, words
from ckptfmt.families.skeleton import Skeleton, several_choices

__all__ = ["proposal", "read", "recognise", "unwitnessed"]

_FAMILY = "atari-dqn"
_DECIDES = ("architecture",)
# A fit, which of its layers is which, and why that cannot be told.
_Placed = tuple[Fit, Assignment | None, str]


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose the one of the eight that a skeleton is, if its shapes, names and facts leave one."""
    answer = read(seen)
    if answer.chosen:
        yield proposal(answer.chosen)


def proposal(chosen: Candidate) -> Proposal:
    """Return the claim that a skeleton is this one of the eight."""
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


def unwitnessed(chosen: Candidate, seen: Skeleton) -> str:
    """Return why a network without a witness is left open, by what it has."""
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
    called = f"{head} is no name of either"
    said, kind = something_around(seen)
    if said:
        called = f"'{said}' around it speaks of {kind}"
    return f"one head is the shape of a Q-network and of a policy, and {called}"


def read(seen: Skeleton) -> Classification:
    """Return the one network of the eight that the shapes and facts leave, or why there is none."""
    found = Fingerprint(seen.shapes)
    if reason := unusable(found, seen):
        return Classification(refusal=reason)
    compared = fits(found)
    exact = [fit for fit in compared if fit.exact and _plausible(fit, seen)]
    if not exact:
        reason = misfit(found, compared, seen) if not (compared and compared[0].exact) else _alike(compared[0])
        near = (Candidate(name=nearest(compared[0]), against=(reason,)),) if compared else ()
        return Classification(candidates=near, refusal=reason)
    if strange := seen.wiring.stranger or (
        seen.wiring.squash and f"the activation {seen.wiring.squash} behind its head"
    ):
        named = tuple(Candidate(name=nearest(fit)) for fit in exact[:1])
        return Classification(
            candidates=named,
            refusal=f"its module has {strange}, which no Atari DQN has",
        )
    return _choose(exact, seen)


def _alike(fit: Fit) -> str:
    rows = fit.topology.heads[0]
    return f"it has two heads of {rows} row{'s' if rows > 1 else ''} each, and nothing says that one is an advantage"


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
    if seen.choices and facts.architecture is None:
        said = several_choices(seen.choices)
        return Classification(candidates=_doubtful(possible, layout), refusal=said, options=("architecture",))
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
        return Classification(candidates=_doubtful(possible, layout), refusal=str(e), options=e.options)
    except Undecided as e:
        return Classification(
            candidates=_doubtful([replace(reading, doubt=str(e))], layout), refusal=str(e), options=e.options
        )
    if not candidate.placements:
        return Classification(candidates=(candidate,), refusal=why)
    witnessed = replace(
        candidate,
        witnesses=witnesses(seen, reading, fit, assignment, layout),
        assumes=assumption(seen, reading, fit, layout),
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
