"""Which of the eight architectures a state dict holds, from shapes, with evidence; or why it cannot be told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ckptfmt.families.atari_dqn import contradiction
from ckptfmt.families.atari_dqn.answer import Candidate, Classification, Facts, Wiring
from ckptfmt.families.atari_dqn.candidate import Undecided, build
from ckptfmt.families.atari_dqn.canonical import Assignment, Unplaced, assign
from ckptfmt.families.atari_dqn.explain import misfit, nearest, unusable
from ckptfmt.families.atari_dqn.fingerprint import Fingerprint, Shape
from ckptfmt.families.atari_dqn.heads import Reading, readings
from ckptfmt.families.atari_dqn.layouts import Layout, recognise
from ckptfmt.families.atari_dqn.support import NoSupport, Values, find
from ckptfmt.families.atari_dqn.topology import Fit, fits
from ckptfmt.families.names import suspicion

__all__ = ["classify"]

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
    lay, what its agent is called), which can only raise suspicion. `wiring` is what a whole module says besides.

    >>> shapes = {"conv.weight": (16, 4, 8, 8), "conv.bias": (16,), "conv2.weight": (32, 16, 4, 4),
    ...           "conv2.bias": (32,), "hidden.weight": (256, 2592), "hidden.bias": (256,),
    ...           "out.weight": (6, 256), "out.bias": (6,)}
    >>> classify(shapes).architecture
    'dqn'
    """
    plain = {str(name): tuple(int(size) for size in shape) for name, shape in shapes.items()}
    facts, wiring = facts or Facts(), wiring or Wiring()
    found = Fingerprint(plain)
    if reason := unusable(found):
        return Classification(refusal=reason)
    compared = fits(found)
    exact = [fit for fit in compared if fit.exact]
    if not exact:
        near = (Candidate(name=nearest(compared[0]), against=(misfit(found, compared),)),) if compared else ()
        return Classification(candidates=near, refusal=misfit(found, compared))
    if wiring.stranger:
        named = tuple(Candidate(name=nearest(fit)) for fit in exact[:1])
        return Classification(
            candidates=named, refusal=f"its module has {wiring.stranger}, which none of the eight architectures has"
        )
    if wary := suspicion(plain, context):
        named = tuple(Candidate(name=nearest(fit), against=(wary,)) for fit in exact[:1])
        return Classification(candidates=named, refusal=f"{wary}, which have the shapes of {nearest(exact[0])}")
    return _choose(exact, plain, values, facts, wiring)


def _choose(
    exact: Sequence[Fit], shapes: Mapping[str, Shape], values: Values | None, facts: Facts, wiring: Wiring
) -> Classification:
    """Names decide between wirings of the same shapes: the one whose layers they describe."""
    placed: list[_Placed] = []
    for fit in exact:
        try:
            placed.append((fit, assign(fit, shapes, find(fit, shapes, values)), ""))
        except Unplaced as e:
            placed.append((fit, None, str(e)))
    able = [item for item in placed if item[1] is not None] or _with_actions(placed, facts)
    fit, assignment, why = able[0]
    kinds = {(item[0].topology.streams, item[0].topology.noisy, item[0].support) for item in able}
    if len(kinds) > 1:
        names = tuple(dict.fromkeys(nearest(item[0]) for item in able))
        return Classification(
            candidates=tuple(Candidate(name=name) for name in names),
            refusal=f"these are the shapes of {' and of '.join(names)}, and the names do not tell which",
        )
    return _answer(fit, assignment, why, shapes, values, facts, wiring)


def _with_actions(placed: list[_Placed], facts: Facts) -> list[_Placed]:
    """Two heads of equal rows would be a game of one action, and there is none; noise explains them better."""
    several = [item for item in placed if len(set(item[0].topology.heads)) == len(item[0].topology.heads)]
    return placed if facts.n_action == 1 else several or placed


def _answer(
    fit: Fit,
    assignment: Assignment | None,
    why: str,
    shapes: Mapping[str, Shape],
    values: Values | None,
    facts: Facts,
    wiring: Wiring,
) -> Classification:
    layout = recognise(shapes, fit.topology.hidden, fit.topology.heads[0])
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
    if wiring.softmax and not reading.distributional:
        said = f"its module ends in a softmax, as a policy does and {reading.architecture} does not"
        return Classification(candidates=_doubtful(possible, layout), refusal=said)
    try:
        candidate = build(fit, reading, assignment, shapes, values, facts, layout, wiring)
    except NoSupport as e:
        return Classification(candidates=_doubtful(possible, layout), refusal=str(e))
    except Undecided as e:
        return Classification(
            candidates=_doubtful([replace(reading, doubt=str(e))], layout), refusal=str(e), options=e.options
        )
    return Classification(chosen=candidate, candidates=(candidate,), refusal="" if candidate.placements else why)


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
