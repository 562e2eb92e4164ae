"""Upgrades of a manifest, one step at a time: each a function from the raw manifest of one version to the next.

A reader needs none of them: what was written by an older minor version is read as it is. They are for who wants a
folder of old checkpoints to be what is written today.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ckptfmt.format.prerelease import PRERELEASE, is_settled, settled
from ckptfmt.format.versions import FORMAT_VERSION

__all__ = ["Step", "raised", "version_of"]

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: from which version to which, and what it changed, a sentence for each."""

    old: str
    new: str
    changes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the step with the keys of `report.schema.json`."""
        return {"from": self.old, "to": self.new, "changes": list(self.changes)}


def _settle(raw: Raw) -> tuple[Raw, tuple[str, ...]]:
    return settled(raw), ("files.*.tensors.*: blake3 is called digest and names its algorithm",)


# From each older version the next one and the step that leads there.
_STEPS: Mapping[str, tuple[str, Callable[[Raw], tuple[Raw, tuple[str, ...]]]]] = {
    PRERELEASE: ("1.0", _settle),
}


def version_of(raw: Raw) -> str:
    """Return the version a raw manifest is of; what was written before 1.0 was released does not say so itself."""
    return str(raw["format_version"]) if is_settled(raw) else PRERELEASE


def raised(raw: Raw, steps: Mapping[str, Any] = _STEPS) -> tuple[Raw, tuple[Step, ...]]:
    """Return a raw manifest of the newest version known here, and the steps that led there; none where it is newest.

    What a newer ckptfmt wrote stays as it is.
    """
    taken: list[Step] = []
    while (version := version_of(raw) if not taken else taken[-1].new) in steps and version != FORMAT_VERSION:
        new, step = steps[version]
        raw, changes = step(raw)
        taken.append(Step(version, new, changes))
    return raw, tuple(taken)
