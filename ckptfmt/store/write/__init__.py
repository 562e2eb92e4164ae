"""A checkpoint written whole or not at all: the commit protocol of docs/durability.md."""

from ckptfmt.store.write.commit import remove_checkpoint, update_manifest, write_checkpoint
from ckptfmt.store.write.datafile import Compression, Payload, TensorFile
from ckptfmt.store.write.rewrite import rewrite_files

__all__ = [
    "Compression",
    "Payload",
    "TensorFile",
    "remove_checkpoint",
    "rewrite_files",
    "update_manifest",
    "write_checkpoint",
]
