"""Target copies: networks that follow others slowly, kept beside them under the same names behind `target.`."""

from collections.abc import Iterable, Iterator, Mapping

from ckptfmt.families.answer import Placement
from ckptfmt.families.blocks import Tensors
from ckptfmt.families.draft import Draft
from ckptfmt.families.names import words
from ckptfmt.families.sides import Sides
from ckptfmt.families.vocabulary import TARGET_WORDS

__all__ = ["COPIED", "PREFIX", "copied", "is_copied", "read_target", "target_tensors"]

PREFIX = "target."
# What has a copy, by the first part of its names; statistics and scales have none.
_NEVER = frozenset({"normalizer", "value_normalizer", "value_sees", "action_scale", "action_offset", "target"})
COPIED: Mapping[str, frozenset[str]] = {
    "critics": frozenset({"critics"}),
    "value": frozenset({"value", "state_value"}),
    "all": frozenset(),
}
# Wrappers that a copy has and the network has not.
_WRAPPERS = frozenset({"module"})


def is_copied(name: str, which: str) -> bool:
    """Return whether a tensor of the network, by our name, has a copy where `which` of its networks have one."""
    first = name.partition(".")[0]
    return first in COPIED[which] or (which == "all" and first not in _NEVER)


def target_tensors(tensors: Tensors, which: str) -> Tensors:
    """Return {name: shape} of the copies of a network's tensors, nothing where `which` is "none"."""
    if which == "none":
        return {}
    return {PREFIX + name: shape for name, shape in tensors.items() if is_copied(name, which)}


def copied(sides: Sides) -> Iterator[str]:
    """Yield the tensors of target copies: those of layers, and what lies beside them and beside the network as well."""
    if not sides.targets:
        return
    for row in sides.targets:
        for unit in row.units:
            yield from unit.sources
    shapes = sides.outline.shapes
    loose = [*(unit.name for unit in sides.outline.vectors), *sides.outline.noise]
    loose += [name for item in sides.outline.statistics for name in (item.mean, item.spread, *item.extra)]
    own = {(words(name)[-1:], shapes[name]) for name in loose if not _is_called(name)}
    yield from (name for name in loose if _is_called(name) and (words(name)[-1:], shapes[name]) in own)


def read_target(draft: Draft) -> None:
    """Take the target copies of a file too, where they are those of whole networks; what is none stays left out."""
    copies = _twins(draft.placements, (name for name in draft.seen.shapes if name in draft.copies))
    named = {placement.name.removeprefix(PREFIX) for placement in copies}
    own = {placement.name for placement in draft.placements}
    which = next((word for word in COPIED if named == {name for name in own if is_copied(name, word)}), "none")
    if copies and which != "none":
        draft.placements += copies
        draft.infer(target=which)
        for placement in copies:
            draft.dropped.pop(placement.source, None)


def _twins(own: Iterable[Placement], targets: Iterable[str]) -> list[Placement]:
    """Return where each tensor of a copy belongs: it is called as one of the network is, but for the word."""
    known: dict[tuple[str, ...], list[Placement]] = {}
    for placement in own:
        known.setdefault(_plain(placement.source), []).append(placement)
    return [
        Placement(PREFIX + twin.name, name, twin.rows, twin.squeeze)
        for name in targets
        for twin in known.get(_twin(_plain(name), known), ())
        if is_copied(twin.name, "all")
    ]


def _twin(name: tuple[str, ...], known: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the name that this is the copy of: the same, or the one that has more in front (`policy.actor`)."""
    ends = [other for other in known if other[-len(name) :] == name]
    return name if name in ends or len(ends) != 1 else ends[0]


def _is_called(name: str) -> bool:
    return not TARGET_WORDS.isdisjoint(words(name))


def _plain(name: str) -> tuple[str, ...]:
    """Return the words of a name without those that a copy is called by."""
    return tuple(word for word in words(name) if word not in TARGET_WORDS and word not in _WRAPPERS)
