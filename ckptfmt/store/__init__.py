"""A directory of the format read, written, kept and mended."""

__all__ = ()
