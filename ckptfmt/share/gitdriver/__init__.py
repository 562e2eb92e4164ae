"""git understands checkpoints: their files as text, what changed in them, and two evaluations merged."""

from ckptfmt.share.gitdriver.describe import describe
from ckptfmt.share.gitdriver.install import Installation, install
from ckptfmt.share.gitdriver.merge import merge

__all__ = ["Installation", "describe", "install", "merge"]
