"""What a checkpoint holds, to be written again: its tensors, each verified as it is read."""

from collections.abc import Iterator

from ckptfmt.format.record import record
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import Compression, TensorFile

__all__ = ["KeptTensor", "kept_file"]


@record
class KeptTensor:
    """A tensor of a checkpoint that is open."""

    dtype: str
    shape: tuple[int, ...]
    checkpoint: Checkpoint
    file: str
    name: str

    def chunks(self) -> Iterator[bytes]:
        """Return the bytes in parts; raise `WeightsError` where they are not those of the manifest."""
        return self.checkpoint.chunks(self.name, self.file)


def kept_file(checkpoint: Checkpoint, file: str, compression: Compression | None = None) -> TensorFile:
    """Return a file of a checkpoint as it would be written again, or the one that files which lie in parts make."""
    files = checkpoint.manifest.files
    entry = files[file] if file in files else checkpoint.manifest.contents[file]
    tensors = {
        name: KeptTensor(info.dtype, tuple(info.shape), checkpoint, file, name) for name, info in entry.tensors.items()
    }
    return TensorFile(tensors, entry.tied, compression, entry.slices)
