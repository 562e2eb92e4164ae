"""The side that knows torch: networks, training, playing."""

__all__ = ()
