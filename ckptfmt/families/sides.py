"""Whose rows of layers are whose: a policy's, a critic's, what both share, and the target copies set aside."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

from ckptfmt.families.draft import Unfit
from ckptfmt.families.joints import open_joints
from ckptfmt.families.names import words
from ckptfmt.families.outline import Chain, Outline, Row
from ckptfmt.families.strings import strings
from ckptfmt.families.vocabulary import TARGET_WORDS, Meaning, meaning, meanings
from ckptfmt.format.record import record

__all__ = ["ANY_OUTPUT", "Sides", "chained", "parted", "said_of"]

_POLICY: frozenset[Meaning] = frozenset({"policy", "mean", "deviation", "action"})
_CRITIC: frozenset[Meaning] = frozenset({"value", "q", "advantage", "quantile"})
_ENDINGS = {"a": "policy", "c": "critic"}
_SUFFIX = "state_dict"
_PAIRS: Mapping[frozenset[str], frozenset[Meaning]] = {
    frozenset({"action", "value"}): frozenset({"q"}),
    frozenset({"state", "value"}): frozenset({"value"}),
}
# What RLlib calls the last layer of a network, whatever that gives.
ANY_OUTPUT = "_logits"
# What Stable-Baselines3 calls its layers: an LSTM of both is called the actor's, and nothing then stands for that of
# the value.
_REMEMBERS, _HEAD, _VALUES = "lstm_actor", "action_net", frozenset({"lstm_critic", "critic"})


@record(slots=False)
class Sides:
    """The rows of an outline by whose they are; those of target copies are in none of the first three."""

    outline: Outline

    @cached_property
    def policy(self) -> tuple[Row, ...]:
        """The rows whose names speak of a policy."""
        return tuple(row for row in self.own if self.side(row) == "policy")

    @cached_property
    def critic(self) -> tuple[Row, ...]:
        """The rows whose names speak of values."""
        return tuple(row for row in self.own if self.side(row) == "critic")

    @cached_property
    def rest(self) -> tuple[Row, ...]:
        """The rows whose names speak of neither."""
        return tuple(row for row in self.own if not self.side(row))

    @cached_property
    def own(self) -> tuple[Row, ...]:
        """All rows but those of target copies."""
        return tuple(row for row in self.outline.rows if row not in self.targets)

    @cached_property
    def targets(self) -> tuple[Row, ...]:
        """The rows that are called targets, where each has a twin that is not."""
        called = [row for row in self.outline.rows if TARGET_WORDS & {*row.words}]
        others = Counter(_shapes(row) for row in self.outline.rows if row not in called)
        return tuple(called) if Counter(map(_shapes, called)) <= others else ()

    @cached_property
    def common(self) -> frozenset[str]:
        """The words that the paths of all rows have, target copies left out."""
        return frozenset.intersection(*(frozenset(row.words) for row in self.own)) if self.own else frozenset()

    def side(self, row: Row) -> str:
        """Return whose a row is by the last word of its path that says so, else the last letter, "" where none does."""
        if _REMEMBERS in row.path and self._remember_together:
            return ""
        pieces = [*reversed(row.path)]
        for piece in sorted(pieces, key=_weakness):
            told = said_of(piece, self.common)
            if told & _POLICY and not told & _CRITIC:
                return "policy"
            if told & _CRITIC and not told & _POLICY:
                return "critic"
        return self._by_ending(row)

    @cached_property
    def _remember_together(self) -> bool:
        said = {piece for row in self.own for piece in row.path}
        return _HEAD in said and not said & _VALUES

    def _by_ending(self, row: Row) -> str:
        """Return whose a row is of two that end in a and in c, as those of an actor and its critic do."""
        for i, piece in enumerate(row.path):
            stem, letter = piece[:-1], piece[-1:]
            if stem.endswith("_") and letter in _ENDINGS:
                other = (*row.path[:i], stem + "ac".replace(letter, ""))
                if any(row.path[: i + 1] == other for row in self.own):
                    return _ENDINGS[letter]
        return ""

    def spoken(self, rows: Sequence[Row]) -> str:
        """Return the name of the first row whose side is told by a whole word, "" where single letters tell all."""
        for row in rows:
            for piece in row.path:
                told = (word for word in words(piece) if len(word) > 1 and word not in self.common)
                if meanings(told) & (_POLICY | _CRITIC):
                    return row.units[0].name
        return ""


def _weakness(piece: str) -> int:
    """Return after how many others a piece of a path is believed: a letter last, and what RLlib calls any output."""
    return 2 if len(piece) == 1 else int(piece == ANY_OUTPUT)


def said_of(piece: str, common: frozenset[str] = frozenset()) -> frozenset[Meaning]:
    """Return what one piece of a path says, without the words that all paths have."""
    said = frozenset(words(piece))
    for pair, told in _PAIRS.items():
        # What both words say together does not hang on what else is called by one of them.
        if pair <= said:
            return told
    return meanings(word for word in words(piece.removesuffix(_SUFFIX)) if word not in common)


def chained(rows: Sequence[Row]) -> Chain | None:
    """Return the one chain that rows make; of several that of the file's order, None where that is none of them.

    Raises `Unfit` where it would be strung of two whole networks, and nothing says that one lies before the other.
    """
    chain = _chain(rows)
    for one, other in open_joints(chain) if chain else ():
        why = f"{other.name} takes what {one.name} gives, and nothing says that the two are of one network"
        raise Unfit(why, "key")
    return chain


def _chain(rows: Sequence[Row]) -> Chain | None:
    found = strings(rows)
    if not found and any(row.units[0].kind == "cell" for row in rows):
        # A cell may lie between two layers that would follow one another as well.
        found = strings([Row((unit,)) for row in rows for unit in row.units])
    return found[0] if found and (len(found) == 1 or _in_order(found[0], rows)) else None


def parted(rows: Sequence[Row]) -> list[Chain]:
    """Return the chains that rows make together, split where their paths part first; [] where some make none."""
    return _parted(list(rows), 0)


def _parted(rows: list[Row], depth: int) -> list[Chain]:
    """Split rows that make no chain by the next piece of their paths, each part as far as it must be."""
    deeper = _split(rows, depth)
    whole = _chain(rows)
    if whole and not _are_copies(deeper) and not any(open_joints(whole)):
        return [whole]
    return deeper


def _split(rows: list[Row], depth: int) -> list[Chain]:
    if depth >= max((len(row.path) for row in rows), default=0):
        alone = [_chain([row]) for row in rows] if len(rows) > 1 else []
        return [chain for chain in alone if chain] if all(alone) else []
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(_stem(row.path[depth : depth + 1]), []).append(row)
    parts = [_parted(group, depth + 1) for group in groups.values()]
    return [chain for part in parts for chain in part] if all(parts) else []


def _stem(piece: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a piece of a path that part it from others: `qf_encoder` lies before `qf`."""
    told = tuple(word for part in piece for word in words(part) if meaning(word) != "neutral")
    return told or piece


def _are_copies(chains: list[Chain]) -> bool:
    """Whether rows that could follow one another are the same layers again and again."""
    return len(chains) > 1 and len({chain.signature for chain in chains}) == 1 and bool(chains[0].units)


def _shapes(row: Row) -> tuple[object, ...]:
    return tuple((unit.kind, unit.shape) for unit in row.units)


def _in_order(chain: Chain, rows: Sequence[Row]) -> bool:
    units = [unit for row in rows for unit in row.units]
    return [*chain.units, *chain.heads] == units
