"""What changed between two checkpoints, as a part of a page: fields of the manifests, tensors, units of a tensor."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptfmt.errors import printable
from ckptfmt.format.files import WEIGHTS
from ckptfmt.look.diff import Diff, WeightChange, diff_open
from ckptfmt.report.draw import strip
from ckptfmt.report.rows import said
from ckptfmt.report.weights import MOST_ELEMENTS, MOST_TENSORS
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["changes_part"]

# A page lists no more fields than somebody reads.
_MOST_FIELDS = 200


def changes_part(newer: Checkpoint, older: Checkpoint, *, sound: bool) -> dict[str, Any]:
    """Return what the template of the changes shows; the numbers of tensors only of a checkpoint that is `sound`."""
    changes = diff_open(older, newer)
    return {
        "same": changes.same,
        "counts": changes.counts,
        "manifest": _fields(changes),
        "tensors": _tensor_rows(changes, newer, older) if sound else [],
    }


def _fields(changes: Diff) -> list[tuple[str, str, str]]:
    """Return (path, before, after) of fields of the manifest, "" for what is not there."""
    told = [change for change in changes.manifest if not change.volatile][:_MOST_FIELDS]
    return [(printable(change.path, 120), _value(change.a), _value(change.b)) for change in told]


def _value(value: Any) -> str:
    return "" if value is None else said(value)


def _tensor_rows(changes: Diff, newer: Checkpoint, older: Checkpoint) -> list[dict[str, Any]]:
    """Return a row for each tensor that changed, with the relative change of each output unit on one scale."""
    rows = []
    before, after = older.tensors, newer.tensors
    for change in changes.weights[:MOST_TENSORS]:
        units: list[float] = []
        if change.op == "changed" and change.file == WEIGHTS and _is_drawn(change):
            units = _unit_changes(before[change.name], after[change.name])
        rows.append({**change.to_dict(), "name": printable(change.name, 120), "units": units})
    most = max((unit for row in rows for unit in row["units"] if math.isfinite(unit)), default=0.0)
    for row in rows:
        row["picture"] = strip(row["units"], most)
        row["most"] = max(row["units"], default=None)
    return rows


def _is_drawn(change: WeightChange) -> bool:
    return change.from_shape is None and math.prod(change.shape) <= MOST_ELEMENTS


def _unit_changes(before: NDArray[Any], after: NDArray[Any]) -> list[float]:
    """Return |b - a| / |a| of each output unit; a unit that was zero and is not changed without bound, by 1."""
    if not after.ndim or not after.size:
        return []
    a, b = (values.astype(np.float64).reshape(len(values), -1) for values in (before, after))
    with np.errstate(all="ignore"):
        moved, size = np.linalg.norm(b - a, axis=1), np.linalg.norm(a, axis=1)
        shares = np.where(size > 0, moved / size, (moved > 0).astype(float))
    return [float(share) for share in np.nan_to_num(shares, nan=1.0, posinf=1.0)]
