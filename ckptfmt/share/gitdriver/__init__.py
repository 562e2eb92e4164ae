"""git understands checkpoints: their files as text, what changed in them, and two evaluations merged."""

from ckptfmt.share.gitdriver.describe import describe
from ckptfmt.share.gitdriver.install import Installation, install
from ckptfmt.share.gitdriver.merge import are_manifests, merge, merge_text

__all__ = ["Installation", "are_manifests", "describe", "install", "merge", "merge_text"]
