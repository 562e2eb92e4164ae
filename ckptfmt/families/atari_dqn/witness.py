"""What speaks for a network being one of the eight: words, settings, layouts, and what nothing else has.

Shapes do not: one head of six rows is as well a policy's, and a head of one row beside another an actor-critic's.
"""

import re
from collections.abc import Iterator, Mapping

from ckptfmt.families.algorithms import trained_by
from ckptfmt.families.atari_dqn.canonical import Assignment
from ckptfmt.families.atari_dqn.heads import Reading
from ckptfmt.families.atari_dqn.layouts import Layout
from ckptfmt.families.atari_dqn.topology import Fit
from ckptfmt.families.claim import Witness
from ckptfmt.families.names import parse, suspicion, words
from ckptfmt.families.rivals.policy import both_signs
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.vocabulary import Meaning, meaning, meanings

__all__ = ["assumption", "something_around", "witnesses"]

# Algorithms of the eight and of them alone, and how only they explore; "dqn" and its like say so by themselves.
_ALGORITHMS = frozenset(
    {"rainbow", "dueling", "duelling", "duel", "distributional", "noisynet", "epsilon", "exploration"}
)
_CAPITALS = {letter: re.compile(rf"(?:^|[._/]){letter}(?:[._/\d]|$)") for letter in "AV"}
# Output channels, height and width of the kernels: Mnih et al. 2015, table 1 of the methods, and Mnih et al. 2013.
_PUBLISHED = ([(32, 8, 8), (64, 4, 4), (64, 3, 3)], [(16, 8, 8), (32, 4, 4)])
_ELSE: Mapping[Meaning, str] = {
    "policy": "a policy", "mean": "a policy", "imitation": "an imitation", "quantile": "quantiles",
    "other": "another network",
}  # fmt: skip
_OF_FILES = frozenset({
    "policy", "policies", "p", "alpha", "beta", "option", "options", "control", "tau", "reward", "rewards", "score",
    "scores", "next", "done", "terminal", "class", "label", "key", "code",
})  # fmt: skip
_ASSUMED = "that its rows are Q-values is assumed, since the logits of a policy have the same tensors"


def witnesses(
    seen: Skeleton, reading: Reading, fit: Fit, found: Assignment | None, layout: Layout | None
) -> tuple[Witness, ...]:
    """Return what speaks for a reading of the heads' rows; empty where nothing does."""
    said = [*_said(seen, reading), *_agents(seen, reading, found)]
    if reading.distributional:
        said += _atoms(seen, fit)
    if reading.dueling:
        # Noise is no witness here: the two streams of an actor-critic can be noisy as well.
        said += _streams(seen, found, layout)
    else:
        said += [*_values(seen), *(_sigmas(seen) if reading.noisy else ())]
    return tuple(said)


def assumption(seen: Skeleton, reading: Reading, fit: Fit, layout: Layout | None) -> str:
    """Return what a claim without a witness takes for granted, "" where it may not be made.

    One head under names that say nothing is as well a policy's, or a classifier's. It may be taken for a Q-network's,
    if that is said, where something besides the head makes that likelier: the convolutions are those that the papers
    on DQN describe, all names are those of a code base whose network of these layers is one, or the file is called
    one. A head whose name says something else, or something unknown, may not, nor one around which something speaks of
    another network; nor may two streams.
    """
    if reading.dueling or reading.distributional or reading.n_action < 2 or seen.copied == "policy":
        return ""
    said = frozenset[str]().union(*(meanings(seen.own(head)) for head in seen.heads))
    if not said <= {"value"} or something_around(seen)[1] or suspicion((), (seen.file,))[1]:
        return ""
    published = [(rows, *kernel) for rows, _, *kernel in fit.topology.convs] in _PUBLISHED
    if layout is not None or _is_q(seen.file):
        return _ASSUMED
    # A trunk alone is little: a word that is not known, wherever it stands, may be what tells the network.
    strange = any("" in meanings(seen.own(layer)) for layer in (*seen.linear, *seen.convolutions))
    return _ASSUMED if published and not strange else ""


def something_around(seen: Skeleton) -> tuple[str, str]:
    """Return what speaks of another network than a Q-network, and of which; "", "" if nothing does.

    That is a text around the network, a word that all its names have, or the name of the file.
    """
    for text in (*seen.context, *seen.common, seen.file):
        # What people call files by: the best reward, the score of an evaluation, DQN's policy_net.
        everyday = _OF_FILES if text == seen.file else frozenset()
        for word in words(text):
            if (kind := _ELSE.get(meaning(word), "")) and word not in everyday:
                return text, kind
    return "", ""


def _said(seen: Skeleton, reading: Reading) -> Iterator[Witness]:
    facts = seen.facts
    if facts.architecture == reading.architecture:
        kind = facts.origin("architecture")
        if kind == "declared":
            yield Witness("declared", "the file's config says so")
        else:
            yield Witness("given", "architecture= says so")


def _agents(seen: Skeleton, reading: Reading, found: Assignment | None) -> Iterator[Witness]:
    """What the file says its agent is: one that learns Q-values, whose streams are not called something else."""
    if reading.dueling and not (found and _may_be_streams(seen, found)):
        return
    for agent in seen.agents:
        if trained_by(agent) == "q":
            yield Witness("declared", f"the file says that its agent is '{agent}'")


def _may_be_streams(seen: Skeleton, found: Assignment) -> bool:
    return all(_stream(seen, found, side) <= {side, "neutral"} for side in ("value", "advantage"))


def _atoms(seen: Skeleton, fit: Fit) -> Iterator[Witness]:
    if fit.support:
        yield Witness("structure", "a support lies beside it")
    elif seen.facts.v_min is not None and seen.facts.v_max is not None:
        yield Witness("structure", "the ends of a support are known")


def _sigmas(seen: Skeleton) -> Iterator[Witness]:
    """What says that a network explores by noise in its weights: deviations, of which none is negative."""
    sigmas = [name for layer in seen.linear if layer.noisy for name in layer.tensors if parse(name).kind == "sigma"]
    small = [name for name in sigmas if len(seen.shapes[name]) == 1]
    if small and seen.values is not None and not any(both_signs(seen.values(name)) for name in small):
        yield Witness("structure", "its sigmas have one sign, as those of noisy layers have")


def _values(seen: Skeleton) -> Iterator[Witness]:
    """What says of a single head that its rows are action values."""
    for layer in seen.layers:
        if meanings(seen.own(layer)) == {"q"}:
            yield Witness("word", f"{layer.name} is a name of Q-values")
            break
    yield from _around(seen)


def _around(seen: Skeleton) -> Iterator[Witness]:
    """What texts around the network say of its kind, and the copy of it that Q-learning bootstraps from."""
    for text in (*seen.context, *seen.common):
        if _is_q(text):
            yield Witness("class", f"'{text}' is a name of a Q-network")
            break
    if seen.copied == "network":
        yield Witness("structure", "a target copy lies beside it")


def _is_q(text: str) -> bool:
    return any(meaning(word) == "q" or word in _ALGORITHMS for word in words(text))


def _streams(seen: Skeleton, found: Assignment | None, layout: Layout | None) -> Iterator[Witness]:
    """What says of two streams that they are value and advantage, and not a critic and an actor."""
    if layout is not None and layout.streams:
        yield Witness("layout", f"the names are those of {layout.name}, where they are value and advantage")
    if found is None:
        return
    head = found.roles["advantage_head"]
    told = {side: _stream(seen, found, side) for side in ("value", "advantage")}
    if "advantage" in told["advantage"] - told["value"]:
        yield Witness("word", f"{head.weight} is a name of an advantage")
    elif _CAPITALS["A"].search(head.weight) and _CAPITALS["V"].search(found.roles["value_head"].weight):
        yield Witness("word", f"{head.weight} beside {found.roles['value_head'].weight} is a name of an advantage")
    elif _letters(found) == ("v", "a"):
        if "stream" in head.stem:
            yield Witness("word", f"{head.weight} is a stream beside a stream of values")
        yield from _around(seen)


def _stream(seen: Skeleton, found: Assignment, side: str) -> frozenset[str]:
    names = {found.roles[role].weight for role in (f"{side}_hidden", f"{side}_head") if role in found.roles}
    layers = [layer for layer in seen.layers if names & {*layer.tensors}]
    return frozenset(meaning(word) for layer in layers for word in seen.own(layer))


def _letters(found: Assignment) -> tuple[str, str]:
    """Return the single letter that only one of the two heads' names has, for each."""
    value, advantage = (frozenset(found.roles[role].stem) for role in ("value_head", "advantage_head"))
    one, two = value - advantage, advantage - value
    return min(one, default="") if len(one) == 1 else "", min(two, default="") if len(two) == 1 else ""
