"""Find every problem of a checkpoint at once: `validate` looks, a `Report` tells."""

from ckptfmt.look.validate.integrity import Progress
from ckptfmt.look.validate.look import validate, validate_open
from ckptfmt.look.validate.report import Report, counts

__all__ = ["Progress", "Report", "counts", "validate", "validate_open"]
