"""Make checkpoints of legacy files: planned in full, written whole, compared byte for byte."""

from ckptfmt.convert.convert import Conversion, convert, migrate_old_checkpoint

__all__ = ["Conversion", "convert", "migrate_old_checkpoint"]
