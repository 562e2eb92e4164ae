"""The rule of claims: a network is claimed for a witness to what its heads mean, and only where nothing rivals it.

Every family proposes what it sees in a skeleton. A proposal explains every tensor; it may bring witnesses for the
meaning of the heads. Shapes are no witness: a policy, an actor-critic and a Q-network can have the same ones.
"""

from collections.abc import Iterable
from typing import Any, Literal

from ckptfmt.format.record import record

__all__ = ["Decision", "Misfit", "Proposal", "Witness", "decide"]

# What a person says outweighs what the file's own config says, and that what names, classes and structure show.
_STRENGTH = {"given": 3, "declared": 2}


@record
class Witness:
    """What says that a head means what a proposal takes it for; `says` is the sentence for a person."""

    kind: Literal["given", "declared", "class", "word", "layout", "structure"]
    says: str

    def to_dict(self) -> dict[str, str]:
        """Return the witness as plain data."""
        return {"kind": self.kind, "says": self.says}


@record(kw_only=True)
class Proposal:
    """What one family takes a skeleton for.

    `what` names the network in a sentence ("a policy"), `sees` the thing that makes it one ("two heads on one
    trunk"). `assumes` says what is taken for granted where there is no witness, "" where nothing may be. `decides`
    are the options that would settle it. `candidate` is the family's own description, with config and placements.
    """

    family: str
    name: str
    what: str
    sees: str = ""
    witnesses: tuple[Witness, ...] = ()
    assumes: str = ""
    decides: tuple[str, ...] = ("architecture",)
    candidate: Any = None

    @property
    def strength(self) -> int:
        """How much its strongest witness weighs, 0 where it has none."""
        return max((_STRENGTH.get(witness.kind, 1) for witness in self.witnesses), default=0)

    @property
    def is_plugged_in(self) -> bool:
        """Whether its family is one of another package, whose names carry that of their distribution."""
        return "/" in self.family


@record
class Misfit:
    """Why a skeleton is none of a family's networks, and for how many tensors a place had been found by then.

    `options` are the facts that would decide, where the file is one of the family but for these.
    """

    placed: int
    why: str
    options: tuple[str, ...] = ()


@record
class Decision:
    """The proposal that stands, or None; those that rival it, and whether its meaning is assumed."""

    claimed: Proposal | None = None
    rivals: tuple[Proposal, ...] = ()
    assumed: bool = False


def decide(proposals: Iterable[Proposal]) -> Decision:
    """Return which proposal stands.

    The one with the strongest witness does, if no other family has one as strong. Without any witness, a proposal
    that says what it assumes stands against others that have none either; all else is left open. A family of
    another package is not believed against one of ours that has a witness of any strength.
    """
    found = list(proposals)
    strongest = max((proposal.strength for proposal in found), default=0)
    best = [proposal for proposal in found if proposal.strength == strongest]
    if not strongest:
        best = [proposal for proposal in best if proposal.assumes]
    elif all(proposal.is_plugged_in for proposal in best):
        best += [proposal for proposal in found if proposal.strength and not proposal.is_plugged_in]
    if len({proposal.family for proposal in best}) != 1:
        return Decision(None, tuple(best if strongest else found))
    # Of several readings of one family the first that rebuilds the network is its own choice.
    claimed = next((proposal for proposal in best if proposal.candidate is not None), best[0])
    rivals = tuple(proposal for proposal in found if proposal is not claimed)
    return Decision(claimed, rivals, assumed=not strongest)
