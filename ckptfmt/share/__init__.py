"""Out of here and back: signatures, git, exports, hubs."""

__all__ = ()
