"""A checkpoint written whole or not at all: the commit protocol of docs/durability.md."""

from ckptfmt.store.write.commit import remove_checkpoint, update_manifest, write_checkpoint
from ckptfmt.store.write.datafile import Payload, TensorFile

__all__ = [
    "Payload",
    "TensorFile",
    "remove_checkpoint",
    "update_manifest",
    "write_checkpoint",
]
