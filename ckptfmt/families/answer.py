"""What a classification says: candidates with their evidence, and the answer."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from ckptfmt.families.claim import Witness
from ckptfmt.families.config import Config
from ckptfmt.families.evidence import Origin
from ckptfmt.format.notebook import Folds, Shown
from ckptfmt.format.record import record

__all__ = ["Candidate", "Classification", "Placement"]


@record
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


@record(kw_only=True)
class Candidate:
    """A network that the shapes allow, by its name within its family, with what speaks for and against it.

    `config` is None while something it needs is unknown; `placements` is empty while it cannot be told which
    tensor is which. `transform` says how the rows move where the layout is equal only after moving them. `copies` are
    tensors of target copies that it does not hold; `dropped` are all others, each with its reason.
    """

    name: str
    config: Config | None = None
    origin: Mapping[str, Origin] = field(default_factory=dict)
    placements: tuple[Placement, ...] = ()
    dropped: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    layout: str = ""
    transform: Literal["", "shared-hidden", "fused-hidden"] = ""
    witnesses: tuple[Witness, ...] = ()
    assumes: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as plain data."""
        return {
            "name": self.name,
            "config": self.config.to_dict() if self.config else None,
            "origin": dict(self.origin),
            "placements": [placement.to_dict() for placement in self.placements],
            "dropped": list(self.dropped),
            "copies": list(self.copies),
            "reasons": list(self.reasons),
            "against": list(self.against),
            "layout": self.layout,
            "transform": self.transform,
            "witnesses": [witness.to_dict() for witness in self.witnesses],
            "assumes": self.assumes,
        }


@record(kw_only=True)
class Classification(Shown):
    """The answer: the chosen candidate, or None and why; all candidates, best first.

    `refusal` is one sentence, empty exactly where there is a `chosen`, of which every tensor has its place and every
    head a meaning. `options` are the facts that would decide.
    """

    chosen: Candidate | None = None
    candidates: tuple[Candidate, ...] = ()
    refusal: str = ""
    options: tuple[str, ...] = ()

    @property
    def architecture(self) -> str | None:
        """Return the name of the chosen network within its family, None where it cannot be told."""
        return self.chosen.name if self.chosen else None

    @property
    def family(self) -> str | None:
        """Return the family of the chosen network, None where it cannot be told."""
        return self.chosen.config.family if self.chosen and self.chosen.config else None

    def _notebook_(self) -> tuple[str, Folds]:
        config = self.chosen.config if self.chosen else None
        origin = self.chosen.origin if self.chosen else {}
        placed = self.chosen.placements if self.chosen else ()
        return self.architecture or f"not told: {self.refusal}", {
            "config, and how each field is known": (
                (name, value, origin.get(name, "")) for name, value in (config.to_dict() if config else {}).items()
            ),
            f"{len(placed):,} tensors": ((place.source, place.name) for place in placed),
            "other candidates": ((one.name, *one.against) for one in self.candidates if one is not self.chosen),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data."""
        return {
            "family": self.family,
            "architecture": self.architecture,
            "refusal": self.refusal,
            "options": list(self.options),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }
