"""A checkpoint written whole or not at all: the commit protocol of docs/durability.md."""

from ckptfmt.write.clean import Leftover, clean, leftovers
from ckptfmt.write.commit import remove_checkpoint, update_manifest, write_checkpoint
from ckptfmt.write.datafile import Payload, TensorFile

__all__ = [
    "Leftover",
    "Payload",
    "TensorFile",
    "clean",
    "leftovers",
    "remove_checkpoint",
    "update_manifest",
    "write_checkpoint",
]
