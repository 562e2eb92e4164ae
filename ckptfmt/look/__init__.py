"""Look at checkpoints and legacy files; results are data, and nothing is changed."""

__all__ = ()
