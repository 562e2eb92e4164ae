"""The refusal of a pickle that asks for what attacks ask for."""

from ckptfmt.errors import UnsafeSource

__all__ = ["refused"]


def refused(what: str) -> UnsafeSource:
    """Return the error for a pickle that does `what`, such as "calls os.system"."""
    return UnsafeSource(f"refused, its pickle {what}; nothing was run")
