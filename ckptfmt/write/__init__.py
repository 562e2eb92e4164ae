"""A checkpoint written whole or not at all: the commit protocol of docs/durability.md."""

from ckptfmt.write.commit import update_manifest, write_checkpoint
from ckptfmt.write.datafile import Payload, TensorFile

__all__ = ["Payload", "TensorFile", "update_manifest", "write_checkpoint"]
