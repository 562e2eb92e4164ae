"""What is said of a pickle that is not read: it asks for what attacks ask for, or nobody's program writes it."""

from ckptfmt.errors import BadPickle, UnsafeSource

__all__ = ["malformed", "refused"]


def refused(what: str) -> UnsafeSource:
    """Return the error for a pickle that does `what`, such as "calls os.system"."""
    return UnsafeSource(f"refused, its pickle {what}; nothing was run")


def malformed(what: str) -> BadPickle:
    """Return the error for a pickle that does `what`, which neither Python nor a library does."""
    return BadPickle(f"its pickle {what}")
