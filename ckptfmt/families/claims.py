"""What the recognisers of the families made of blocks have in common: the outline, words that rule them out."""

from collections.abc import Callable, Iterator

from ckptfmt.families.claim import Misfit, Proposal, Witness
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.evidence import BLOCK_LAYERS
from ckptfmt.families.names import words
from ckptfmt.families.outline import Outline, Unit
from ckptfmt.families.sides import Sides
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.targets import copied
from ckptfmt.families.vocabulary import is_of_policy, meaning

__all__ = ["is_atari", "q_witnesses", "recogniser"]

# What is trained beside or before an agent: no network with such a part is claimed.
_STRANGERS = frozenset({
    "reward", "rewards", "next", "forward", "inverse", "decoder", "reconstruction", "projection", "projector",
    "predictor", "prediction", "discriminator", "termination", "successor", "dynamics", "done", "terminal", "icm",
    "rnd", "curl", "byol", "hyper", "mixer", "mixing", "transition", "transitions", "world",
    "attention", "option", "options",
})  # fmt: skip
_ALGORITHMS = frozenset({"rainbow", "dueling", "duelling", "duel", "noisynet", "epsilon", "exploration", "drqn"})
_FEWEST, _MOST = 2, 400

Read = Callable[[Draft, Sides], Proposal]


def recogniser(
    family: str, read: Read, *, cells: bool | None = None
) -> Callable[[Skeleton], Iterator[Proposal | Misfit]]:
    """Return what tells the networks of a family by `read`: those with cells or without, both where that is None."""

    def recognise(seen: Skeleton) -> Iterator[Proposal | Misfit]:
        if cells is None or cells is any("weight_hh" in name for name in seen.shapes):
            yield from _drafted(seen, family, read)

    return recognise


def _drafted(seen: Skeleton, family: str, read: Read) -> Iterator[Proposal | Misfit]:
    """Yield what a family reads of a skeleton, or why nothing; neither where another is given."""
    said = seen.facts.architecture
    if said is not None and said.partition("/")[0] != family:
        return
    if not _FEWEST <= len(seen.shapes) <= _MOST:
        return
    if seen.wiring.stranger not in ("", *BLOCK_LAYERS):
        yield Misfit(0, f"its module has {seen.wiring.stranger}")
        return
    outline = Outline(seen.shapes)
    if why := _foreign(outline):
        yield Misfit(0, why)
        return
    if idle := frozenset(_idle(outline)):
        outline = Outline({name: size for name, size in seen.shapes.items() if name not in idle})
    sides = Sides(outline)
    copies = frozenset(copied(sides))
    own = (
        outline if not copies else Outline({name: size for name, size in outline.shapes.items() if name not in copies})
    )
    draft = Draft(seen, own, copies=copies)
    draft.drop([name for name in seen.shapes if name in idle], "a head that its agent never uses")
    draft.drop([name for name in seen.shapes if name in copies], "a target copy")
    try:
        yield read(draft, sides)
    except Unfit as e:
        if str(e):
            yield Misfit(len(draft.placements), str(e), e.options)


def _idle(outline: Outline) -> Iterator[str]:
    """Yield the tensors of a head `q` beside `pi` and `vf`: Stable-Baselines 2 makes one for every policy."""
    alone = {row.path: row.units[0] for row in outline.rows if len(row.units) == 1}
    for path, unit in alone.items():
        policy, value = alone.get((*path[:-1], "pi")), alone.get((*path[:-1], "vf"))
        if path[-1] == "q" and policy and value and value.outputs == 1 and unit.shape == policy.shape:
            yield from unit.sources


def _foreign(outline: Outline) -> str:
    """Return what no network made of blocks has, "" where nothing of it is there."""
    if outline.strange:
        return f"{outline.strange} belongs to no layer that is known"
    if not outline.rows:
        return "it has no layers"
    beside = next((word for row in outline.rows for word in row.words if word in _STRANGERS), "")
    return f"'{beside}' names what is trained beside an agent" if beside else ""


def is_atari(units: tuple[Unit, ...]) -> bool:
    """Whether layers before the heads are those of an Atari DQN, which has a family of its own."""
    kinds = [unit.kind for unit in units]
    plain = not any(unit.norm or unit.is_residual for unit in units)
    return (
        plain and kinds[:1] == ["conv"] and kinds.count("conv") == len(kinds) - 1 and kinds[-1] in ("linear", "noisy")
    )


def q_witnesses(draft: Draft, sides: Sides) -> Iterator[Witness]:
    """Yield what says that the rows of heads are action values: words of them or around them, and a target copy."""
    for row in sides.own:
        for piece in row.path:
            if any(meaning(word) == "q" for word in words(piece)):
                yield Witness("word", f"{row.units[0].name} is a name of Q-values")
                break
        else:
            continue
        break
    for text in (*draft.seen.context, *draft.seen.agents):
        if any(meaning(word) == "q" or word in _ALGORITHMS for word in words(text)):
            yield Witness("class", f"'{text}' is a name of a Q-network")
            break
    told = {word for row in sides.targets for word in row.words}
    models = any("model_old" in piece for row in sides.targets for piece in row.path)
    if (
        sides.targets
        and (told & {"target", "targets", "targ", "tgt"} or models)
        and not is_of_policy([row.path for row in sides.own], [row.path for row in sides.targets])
    ):
        yield Witness("structure", "a target copy lies beside it")
