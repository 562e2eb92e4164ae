"""Find every problem of a checkpoint at once: `validate` looks, a `Report` tells, a code explains."""

from ckptfmt.validate.codes import Code, codes, explain
from ckptfmt.validate.integrity import Progress
from ckptfmt.validate.look import validate
from ckptfmt.validate.report import Report, counts

__all__ = ["Code", "Progress", "Report", "codes", "counts", "explain", "validate"]
