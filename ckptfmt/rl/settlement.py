"""What playing measures of a checkpoint: which fields it can decide, and what became of each."""

from collections.abc import Iterable, Mapping
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.families.alternatives import alternatives
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.record import record

__all__ = ["MOST", "TEST", "Candidate", "Measured", "Settlement", "Unmeasured", "fields_to_measure", "plain"]

# What changes actions that are taken without chance, in the order in which it is measured.
_FIELDS = (
    *("input_scale", "activation", "encoder", "squash", "action_scale", "order", "first_cosine"),
    *("critic_join", "dueling_join", "mean_range", "normalizer_range", "normalizer_epsilon", "n_taus"),
    *("trunk", "policy_trunk", "value_trunk", "advantage_trunk", "critic_trunk", "quantile_trunk", "q_trunk"),
)
_CHANCE = "it shapes what is drawn by chance, and actions are taken without"
_FRAMES = "its frames are made of one size before they are seen"
_ROWS = "the likeliest action and the one of the highest value are one and the same"
# Why what was assumed is not measured, where no play would show it.
_WHY: Mapping[str, str] = {
    **dict.fromkeys(("deviation_is", "deviation_range", "deviation_bound"), _CHANCE),
    **dict.fromkeys(("input_shape", "observation"), _FRAMES),
    "architecture": _ROWS,
    "policy": "its environment says by the kind of its actions what it is",
}
_NO_ACTION = "no action depends on it"
_TOO_MANY = "with it there are more combinations than are played at once: measure it alone"
# More combinations than this would play for a day.
MOST = 96
_ASSUMED = "assumed"
TEST = "paired t-test of returns on the same seeds, its level of 0.01 shared over candidates and looks"


def plain(value: Any) -> Any:
    """Return a value of a field as plain data: an encoder or a row of blocks as they stand in the manifest."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return [plain(item) for item in value] if isinstance(value, tuple) else value


@record
class Candidate:
    """A value that a field may have, and the returns of the agent that has it, by seed."""

    value: Any
    returns: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as plain data."""
        return {"value": plain(self.value), "returns": list(self.returns)}


@record
class Measured:
    """What playing showed of one field.

    `chosen` is the value that is better than every other and than chance, None where there is none; `p` is the largest
    of the probabilities that the differences which decided are chance. `chance` are the returns of random actions.
    """

    field: str
    before: Any
    candidates: tuple[Candidate, ...]
    chance: tuple[float, ...]
    chosen: Any = None
    p: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what was measured as plain data."""
        return {
            "name": self.field,
            "before": plain(self.before),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "chance": list(self.chance),
            "chosen": plain(self.chosen),
            "p": self.p,
        }


@record
class Unmeasured:
    """A field that was assumed and is not measured, why, and whether playing could measure it still."""

    field: str
    why: str
    is_open: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"name": self.field, "why": self.why, "is_open": self.is_open}


@record
class Settlement:
    """What was measured of a checkpoint, where, and whether it was written down.

    `unmeasured` are the other fields that were assumed and on which answers of the network depend.
    """

    path: str
    environment: Mapping[str, Any]
    seed: int
    fields: tuple[Measured, ...]
    written: bool
    unmeasured: tuple[Unmeasured, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every field that playing can measure has its value."""
        return all(field.chosen is not None for field in self.fields) and not any(
            item.is_open for item in self.unmeasured
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt settle --json`."""
        return {
            "path": self.path,
            "environment": dict(self.environment),
            "seed": self.seed,
            "test": TEST,
            "fields": [field.to_dict() for field in self.fields],
            "unmeasured": [item.to_dict() for item in self.unmeasured],
            "written": self.written,
        }


def fields_to_measure(
    manifest: Manifest, config: Any, asked: Iterable[str] | None, where: str
) -> tuple[list[str], tuple[Unmeasured, ...]]:
    """Return the fields that are measured, in their order, and what is left of those that were assumed."""
    assumed = [name for name, origin in manifest.config_origin.items() if origin == _ASSUMED]
    found = alternatives(config, assumed, by_playing=True)
    able = [name for name in _FIELDS if name in found]
    wanted = able if asked is None else list(asked)
    for name in wanted:
        if name not in able:
            known = f"only {', '.join(able)} can be" if able else "nothing of it can be"
            what = f"{name} is not measured: it was not assumed, or no action depends on it; {known}"
            raise CkptError(what, where=where, code="settle.field")
    taken: list[str] = []
    size = 1
    for name in (name for name in able if name in wanted):
        if size * len(found[name]) <= MOST or not taken:
            taken.append(name)
            size *= len(found[name])
    unseen = Blueprint.of(config).family.unseen
    left = [name for name in assumed if name not in taken and name not in unseen and (asked is None or name in wanted)]
    return taken, tuple(_why(name, name in able) for name in left)


def _why(name: str, is_able: bool) -> Unmeasured:
    return Unmeasured(name, _TOO_MANY, True) if is_able else Unmeasured(name, _WHY.get(name, _NO_ACTION))
