"""Upgrades of a manifest, one step at a time: each a function from the raw manifest of one version to the next.

A reader needs none of them: what was written by an older minor version is read as it is. They are for who wants a
folder of old checkpoints to be what is written today.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.prerelease import PRERELEASE, is_settled, settled
from ckptfmt.format.record import record
from ckptfmt.format.versions import NEWEST

__all__ = ["Step", "raised", "version_of"]

Raw = Mapping[str, Any]


@record
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


def raised(
    raw: Raw, steps: Mapping[str, Any] = _STEPS, *, to: str | None = None, where: str = ""
) -> tuple[Raw, tuple[Step, ...]]:
    """Return a raw manifest in version `to`, the newest unless told, and the steps that led there, if any.

    A manifest that uses nothing of the newest version stays of the one before. What a newer ckptfmt wrote stays as it
    is, unless another version than the newest known here is asked for.
    Raises `CkptError` for a version that is not known here, or older than what there is.
    """
    known = _known(steps)
    if to is None or (to == NEWEST and to not in known):
        # No step leads to the newest: a writer says it only of what came with it, and the rest stays as it is.
        to = known[-1]
    version = version_of(raw)
    if to not in known:
        raise CkptError(
            f"there is no version {printable(to, 40)} of the format that this ckptfmt knows",
            where=where,
            fix=f"use one of {', '.join(dict.fromkeys([*known, NEWEST]))}",
            code="upgrade.version",
        )
    if to != known[-1] and version != to and (version not in known or known.index(version) > known.index(to)):
        raise CkptError(
            f"is of version {printable(version, 40)}, which is newer than {to}",
            where=where,
            fix="keep it as it is: readers of the older one read it too, as far as they know it",
            code="upgrade.back",
        )
    taken: list[Step] = []
    while version in steps and version != to:
        new, step = steps[version]
        raw, changes = step(raw)
        taken.append(Step(version, new, changes))
        version = new
    return raw, tuple(taken)


def _known(steps: Mapping[str, Any]) -> list[str]:
    """Return every version, oldest first: what was written before the release, and where each step leads."""
    known = [PRERELEASE]
    while known[-1] in steps:
        known.append(steps[known[-1]][0])
    return known
