"""Find every problem of a checkpoint at once: `validate` looks, a `Report` tells, a code explains."""

from ckptfmt.look.validate.codes import Code, codes, explain
from ckptfmt.look.validate.integrity import Progress
from ckptfmt.look.validate.look import validate
from ckptfmt.look.validate.report import Report, counts

__all__ = ["Code", "Progress", "Report", "codes", "counts", "explain", "validate"]
