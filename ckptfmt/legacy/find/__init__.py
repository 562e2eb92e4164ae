"""Where in a foreign object the networks are."""

__all__ = ()
