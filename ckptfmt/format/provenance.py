"""When a checkpoint was made and by which versions."""

import os
import sys
import time

from ckptfmt import __version__
from ckptfmt.errors import CkptError, printable

__all__ = ["created_by", "instant"]


def instant() -> str:
    """Return the time in UTC as a manifest writes it; SOURCE_DATE_EPOCH, where set, stands for the clock."""
    # reproducible-builds.org: with it one content is saved as the same bytes again.
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(fixed) if fixed else time.time()))
    except (ValueError, OverflowError, OSError):
        raise CkptError(
            f"'{printable(fixed, 40)}' is no instant",
            where="SOURCE_DATE_EPOCH",
            fix="give seconds since 1970, or unset it",
            code="usage.epoch",
        ) from None


def created_by() -> dict[str, str]:
    """Return the versions at work, those of torch and NumPy only where they are loaded already."""
    version = sys.version_info
    made = {"ckptfmt": __version__, "python": f"{version.major}.{version.minor}.{version.micro}"}
    for name in ("torch", "numpy"):
        if name in sys.modules:
            made[name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    return {**made, "platform": f"{sys.platform}-{os.uname().machine}"}
