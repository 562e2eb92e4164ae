"""Networks built from their configs."""

__all__ = ()
