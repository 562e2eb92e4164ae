"""What a checkpoint holds, to be written again: its tensors, each verified as it is read."""

from collections.abc import Iterable, Iterator, Mapping

from ckptfmt.errors import WeightsError
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.record import record
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import Compression, TensorFile

__all__ = ["KeptTensor", "as_before", "changed", "kept_file", "kept_files", "unchanged"]


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


def kept_files(checkpoint: Checkpoint, names: Iterable[str]) -> dict[str, TensorFile]:
    """Return files of a checkpoint as `kept_file` does, each in the form, plain or compressed, that it has there."""
    return {name: kept_file(checkpoint, name, as_before(checkpoint.compressed(name))) for name in names}


def as_before(compressed: bool) -> Compression | None:
    """Return the form in which a file is written again: the one in which it lies there."""
    # With nothing to gain by it: a file that was compressed stays so, however little smaller it is.
    return Compression(least=0.0) if compressed else None


def unchanged(manifest: Manifest, entries: Mapping[str, FileEntry], where: str) -> Manifest:
    """Return the manifest; raise `WeightsError` where its files, written again, did not come out as it lists them."""
    if dict(entries) != dict(manifest.files):
        raise changed(where)
    return manifest


def changed(where: str) -> WeightsError:
    """Return the error for a checkpoint that changed while it was written again."""
    fix = "find the program that writes into it, then try again"
    return WeightsError("changed while it was read to be written again", where=where, fix=fix, code="repair.changed")
