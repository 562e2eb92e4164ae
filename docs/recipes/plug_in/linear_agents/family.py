"""What such a network is, without torch: its config, the tensors it has, and by what it is told in foreign files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ckptfmt.families.answer import Candidate, Placement
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.config import Config, positive
from ckptfmt.families.registry import Family
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.format.document import value

NAME = "linear-agents/linear-q"


@dataclass(frozen=True, kw_only=True)
class LinearConfig(Config):
    """Q(s, a) = theta[a] · features(s)."""

    family: ClassVar[str] = NAME

    features: int = value(positive, "How many features are seen.")
    n_action: int = value(positive, "How many actions the network values.")

    @property
    def input_shape(self) -> tuple[int]:
        """Return the shape of one observation."""
        return (self.features,)


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose a file whose one tensor is called theta, a row for each action."""
    [(name, shape), *more] = seen.shapes.items()
    if more or name.rpartition(".")[2] != "theta" or len(shape) != 2:
        return
    actions, features = shape
    yield Proposal(
        family=NAME,
        name="linear",
        what="a linear Q-network",
        sees=f"{name} has a row of {features} weights for each of {actions} actions",
        # A claim needs a witness for what the numbers mean; shapes are none.
        witnesses=(Witness("word", f"{name} is what linear methods call their weights"),),
        candidate=Candidate(
            name="linear",
            config=LinearConfig(features=features, n_action=actions),
            origin={"features": "inferred", "n_action": "inferred"},
            placements=(Placement("theta", name),),
        ),
    )


FAMILY = Family(
    name=NAME,
    about="Q-values that are linear in the features",
    examples=("linear",),
    told_by="one tensor called theta",
    never="what the features are",
    config=LinearConfig,
    network_name=lambda config: "linear",
    tensors=lambda config: {"theta": (config.n_action, config.features)},
    recognise=recognise,
)
