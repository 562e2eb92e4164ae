"""The reference trainer and its parts."""

__all__ = ()
