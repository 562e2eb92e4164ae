"""A directory of the format read, written, kept and mended."""
