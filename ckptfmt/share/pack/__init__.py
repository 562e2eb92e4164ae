"""A whole run in one file, to be kept: `pack` makes it, `unpack` gives every byte back."""

from ckptfmt.share.pack.archive import Archive
from ckptfmt.share.pack.pack import Packed, pack
from ckptfmt.share.pack.unpack import Unpacked, check, unpack

__all__ = ["Archive", "Packed", "Unpacked", "check", "pack", "unpack"]
