"""A checkpoint written whole or not at all: the commit protocol of docs/durability.md."""

from ckptfmt.store.write.commit import remove_checkpoint, require_update, update_manifest, write_checkpoint
from ckptfmt.store.write.rewrite import rewrite_files
from ckptfmt.store.write.tensorfile import Compression, Payload, TensorFile

__all__ = [
    "Compression",
    "Payload",
    "TensorFile",
    "remove_checkpoint",
    "require_update",
    "rewrite_files",
    "update_manifest",
    "write_checkpoint",
]
