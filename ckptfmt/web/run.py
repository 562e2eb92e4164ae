"""The page of one training run: what it scored and logged, and which checkpoints are there, and why."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.travelled import leads_out
from ckptfmt.look.figures import Point, evaluation_points, finite
from ckptfmt.look.scalars import read_scalars, scalar_files
from ckptfmt.report.draw import curve
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.web.index import Entry, Index, Row

__all__ = ["entries_of", "run_part", "run_state"]

# Where `ckpt train` logs, beside the checkpoints.
_LOGS = "tensorboard"
_BEST = "best"
# What a page lists; the data beside it hold all.
_MOST_ROWS = 100


def entries_of(index: Index, name: str) -> list[Entry]:
    """Return the checkpoints that lie right in the folder of a run."""
    prefix = f"{name}/" if name else ""
    own = (entry for entry in index.entries() if entry.name.startswith(prefix))
    return [entry for entry in own if "/" not in entry.name.removeprefix(prefix)]


def run_state(index: Index, name: str) -> str:
    """Return what changes when the run does: a digest of the times of its checkpoints and of the sizes of its logs."""
    seen: list[object] = [(entry.name, entry.changed_ns) for entry in entries_of(index, name)]
    for path in scalar_files(_logs(index, name)):
        try:
            seen.append((path, os.stat(path, follow_symlinks=False).st_size))
        except OSError:
            continue
    return hashlib.sha256(repr(seen).encode("utf-8", "surrogateescape")).hexdigest()


def run_part(index: Index, name: str, entries: Sequence[Entry]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (what the template of a run shows, the data of the page)."""
    rows = [index.row(entry) for entry in entries]
    newest = max(rows, key=lambda row: -1.0 if row.step is None else row.step)
    points, keep = _told(next(entry.path for entry in entries if entry.name == newest.name))
    for row in rows:
        if row.mean is not None and row.step is not None:
            points.setdefault(row.step, (row.step, row.mean, row.spread or 0.0))
    evaluations = sorted(points.values())
    scalars = read_scalars(_logs(index, name))
    kept = list(zip(rows, _reasons(rows, keep), strict=True))
    context = {
        "curve": curve(evaluations, marks=[row.step for row in rows if row.step is not None]),
        "evaluations": evaluations[-_MOST_ROWS:],
        "scalars": [(printable(tag, 60), _line(found), found[-1][1]) for tag, found in scalars.items()],
        "rows": kept,
    }
    data = {
        "checkpoints": [{**row.to_dict(), "kept": reason} for row, reason in kept],
        "evaluations": [{"step": step, "mean": mean, "std": spread} for step, mean, spread in evaluations],
        "scalars": {printable(tag, 60): [list(point) for point in found] for tag, found in scalars.items()},
    }
    return context, data


def _line(points: Sequence[tuple[int, float]]) -> Markup:
    return curve([(step, value, 0.0) for step, value in points])


def _logs(index: Index, name: str) -> str:
    """Return the folder of a run's logs, "" where it is a link out of what is served."""
    logs = os.path.join(index.folder, name, _LOGS)
    return "" if leads_out(logs, index.folder) else logs


def _told(path: str) -> tuple[dict[float, Point], int | None]:
    """Return what the newest checkpoint tells of the run: its evaluations by step, how many checkpoints it keeps."""
    try:
        with Checkpoint(path) as checkpoint:
            told = checkpoint.manifest.training_info
    except CkptError:
        return {}, None
    evaluations, config = told.get("evaluations"), told.get("training_config")
    listed = [one for one in evaluations if isinstance(one, Mapping)] if isinstance(evaluations, list | tuple) else []
    keep = finite(config.get("keep")) if isinstance(config, Mapping) else None
    return {point[0]: point for point in evaluation_points(listed)}, None if keep is None else int(keep)


def _reasons(rows: Sequence[Row], keep: int | None) -> list[str]:
    """Return why each checkpoint is there, as far as the run tells; a run that tells nothing keeps all."""
    steps = sorted((row.step for row in rows if row.step is not None and not _is_best(row)), reverse=True)
    reasons = []
    for row in rows:
        if _is_best(row):
            reasons.append("the best evaluation")
        elif row.step is None or keep is None:
            reasons.append("")
        elif row.step == steps[0]:
            reasons.append("the newest")
        else:
            reasons.append(f"one of the {keep:,} newest" if row.step in steps[:keep] else "")
    return reasons


def _is_best(row: Row) -> bool:
    return os.path.basename(row.name) == _BEST
