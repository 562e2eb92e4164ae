"""What a classification says: facts that were given, candidates with their evidence, the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.encoder import Encoder

__all__ = ["Candidate", "Classification", "Facts", "Origin", "Placement", "Window", "Wiring"]

Origin = Literal["inferred", "given", "assumed", "declared"]
# Stride and padding of a convolution, in pixels, the same in both directions.
Window = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known beside the weights; None where it is not.

    `input_shape` is (channels, height, width) in pixels, `input_scale` the divisor inside the network, `encoder`
    describes the trunk where weights leave it open. `declared` names the fields that the file's own config says;
    the others were given by the user.
    """

    architecture: str | None = None
    n_action: int | None = None
    n_atoms: int | None = None
    v_min: float | None = None
    v_max: float | None = None
    input_shape: tuple[int, int, int] | None = None
    input_scale: float | None = None
    encoder: Encoder | None = None
    declared: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        # JSON and people give lists.
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", tuple(self.input_shape))

    def origin(self, name: str) -> Origin:
        """Return whether the field `name` was given by the user or declared by the file."""
        return "declared" if name in self.declared else "given"

    def known(self) -> dict[str, Any]:
        """Return the fields that are known."""
        names = (item.name for item in fields(self) if item.name != "declared")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a whole module says of its layers beside their weights.

    `windows` are those of the convolutions by the names of their weights, `activation` is one of
    `ckptfmt.families.encoder.ACTIVATIONS` or "" where none is seen, `softmax` is true where probabilities are made, and
    `stranger` is what none of the eight architectures has, "" if nothing.
    """

    windows: Mapping[str, Window] = field(default_factory=dict)
    activation: str = ""
    softmax: bool = False
    stranger: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """One tensor of the canonical network: an exact copy of a source tensor, or of some of its rows.

    `rows` is the half-open range of rows that is copied, None for all; `squeeze` drops dimensions of size 1.
    """

    name: str
    source: str
    rows: tuple[int, int] | None = None
    squeeze: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the placement as plain data."""
        return {
            "name": self.name,
            "source": self.source,
            "rows": list(self.rows) if self.rows else None,
            "squeeze": self.squeeze,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the eight architectures that the shapes allow, with what speaks for and against it.

    `config` is None while something it needs is unknown; `placements` is empty while it cannot be told which
    tensor is which. `transform` says how the rows move where the layout is equal only after moving them.
    """

    name: str
    config: ModelConfig | None = None
    origin: Mapping[str, Origin] = field(default_factory=dict)
    placements: tuple[Placement, ...] = ()
    dropped: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    layout: str = ""
    transform: Literal["", "shared-hidden", "fused-hidden"] = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as plain data."""
        return {
            "name": self.name,
            "config": self.config.to_dict() if self.config else None,
            "origin": dict(self.origin),
            "placements": [placement.to_dict() for placement in self.placements],
            "dropped": list(self.dropped),
            "reasons": list(self.reasons),
            "against": list(self.against),
            "layout": self.layout,
            "transform": self.transform,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The answer: the chosen candidate, or None and why; all candidates, best first.

    `refusal` is empty exactly when every tensor of `chosen` has its place. It is not empty beside a `chosen`
    whose architecture the shapes tell, while its tensors cannot be told apart. `options` are the command
    line options that would decide.
    """

    chosen: Candidate | None = None
    candidates: tuple[Candidate, ...] = ()
    refusal: str = ""
    options: tuple[str, ...] = ()

    @property
    def architecture(self) -> str | None:
        """Return the name of the chosen architecture, None where it cannot be told."""
        return self.chosen.name if self.chosen else None

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data."""
        return {
            "architecture": self.architecture,
            "refusal": self.refusal,
            "options": list(self.options),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }
