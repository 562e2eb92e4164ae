"""Compare checkpoints and legacy files: `diff` looks, a `Diff` holds what changed as data."""

from ckptfmt.look.diff.changes import ManifestChange, WeightChange
from ckptfmt.look.diff.compare import Diff, Side, diff, diff_open

__all__ = ["Diff", "ManifestChange", "Side", "WeightChange", "diff", "diff_open"]
