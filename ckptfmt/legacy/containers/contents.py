"""What a block of bytes is, told by the bytes, and the objects in it."""

from typing import Any

from ckptfmt.errors import SourceError, UnsafeSource, printable
from ckptfmt.format.safetensors import MAX_HEADER
from ckptfmt.legacy.bytes import packed
from ckptfmt.legacy.bytes.blocks import Block
from ckptfmt.legacy.containers import baselines, inner, msgpack, npz, stream, tar, torch7, torchtar, torchzip, zip
from ckptfmt.legacy.containers.directory import ends_as_archive
from ckptfmt.legacy.containers.reading import Reading, check_whole, within
from ckptfmt.legacy.containers.safetensors import read_safetensors
from ckptfmt.legacy.containers.unsupported import HEAD, is_text, refusal, refuse_text, refuse_unsupported

__all__ = ["Contents", "read_contents"]

# The container's name, and the objects by the name of the member that holds them ("" where there is one).
Contents = tuple[str, dict[str, Any]]

_PICKLE = b"\x80"
_STOP = b"."
_HDF5 = b"\x89HDF\r\n\x1a\n"
# What Keras has in an archive, with its metadata beside.
_KERAS = frozenset({"model.weights.h5", "config.json"})


def read_contents(block: Block, reading: Reading, wrapped: tuple[str, ...] = ()) -> Contents:
    """Return the container and the objects of a file, or of what is packed in it.

    `wrapped` are the packings around it: one compression and one tar at most. Raises `SourceError`.
    """
    if block.size == 0:
        raise refusal("is empty", "copy or download it again", "source.empty")
    head = block.read(0, min(HEAD, block.size))
    if kind := packed.packing(head):
        if wrapped:
            raise refusal("is packed more than once", "unpack it and give the checkpoint in it", "source.nested")
        return read_contents(reading.spool.add(packed.unpack(block, kind)), reading, (kind,))
    if tar.is_tar(block):
        return _read_tar(block, reading, wrapped)
    container, members = _read_plain(block, head, reading)
    return "+".join((*wrapped, container)), members


def _read_tar(block: Block, reading: Reading, wrapped: tuple[str, ...]) -> Contents:
    members = tar.read_members(block)
    if torchtar.is_torch_tar(members):
        return "+".join((*wrapped, "torch-tar")), {"": torchtar.read_object(members, reading)}
    if "tar" in wrapped:
        raise refusal("is packed more than once", "unpack it and give the checkpoint in it", "source.nested")
    likely = [member for member in members if _may_be_torch(member.block)]
    if len(likely) != 1:
        what = (
            f"is a tar archive with {len(likely)} checkpoints in it"
            if likely
            else "is a tar archive without a checkpoint in it"
        )
        raise refusal(what, "unpack it and give one of its files")
    with within(likely[0].name):
        return read_contents(likely[0].block, reading, (*wrapped, "tar"))


def _may_be_torch(block: Block) -> bool:
    head = block.read(0, min(HEAD, block.size))
    return head.startswith((*zip.MAGIC, _PICKLE)) or _is_safetensors(block, head)


def _read_plain(block: Block, head: bytes, reading: Reading) -> Contents:
    if head.startswith(zip.MAGIC):
        return _read_zip(block, reading)
    if _is_safetensors(block, head):
        return "safetensors", _with_metadata(block)
    if torch7.begins_as_torch7(head):
        return "torch7", torch7.read_torch7(block, reading.budget)
    if head.startswith(_HDF5):
        # What hardly a file needs is brought when one comes.
        from ckptfmt.legacy.containers import keras

        return "keras-hdf5", keras.read_keras(block, reading)
    refuse_unsupported(block)
    if ends_as_archive(block):
        zip.read_archive(block)
    if msgpack.begins_as_map(head):
        return "flax-msgpack", {"": msgpack.read_msgpack(block, reading.budget)}
    return _read_pickle(block, head, reading)


def _read_zip(block: Block, reading: Reading) -> Contents:
    archive = reading.take(zip.read_archive(block))
    if root := torchzip.find_root(archive):
        container = "torchscript-zip" if torchzip.is_torchscript(archive, root) else "torch-zip"
        reading.constants += torchzip.constants(archive, root)
        return container, {"": torchzip.read_object(archive, root, reading)}
    if torchzip.is_stable_baselines(archive):
        return "sb3-zip", torchzip.read_stable_baselines(archive, reading)
    if baselines.is_baselines(archive):
        return "stable-baselines2-zip", {"": baselines.read_baselines(archive, reading)}
    if archive.entries.keys() >= _KERAS:
        from ckptfmt.legacy.containers import keras

        return "keras-zip", keras.read_keras_archive(archive, reading)
    if npz.is_npz(archive):
        return "npz", {"": npz.read_npz(archive, reading)}
    names = [name.rpartition("/")[2] for name in archive.entries]
    if "archive_format" in names:
        raise refusal("is a program of torch.export, which is not read here", "save its state_dict with torch.save")
    shown = ", ".join(printable(name, 40) for name in names[:3]) or "nothing"
    raise refusal(
        f"is a zip archive, but no checkpoint: it has no data.pkl ({shown})", "unpack it and give the checkpoint"
    )


def _is_safetensors(block: Block, head: bytes) -> bool:
    # A header that begins with { behind the eight bytes of its length; the least one is {}.
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= MAX_HEADER and block.size > 9


def _with_metadata(block: Block) -> dict[str, Any]:
    tensors, metadata = read_safetensors(block)
    return {"": tensors, "__metadata__": metadata} if metadata else {"": tensors}


def _read_pickle(block: Block, head: bytes, reading: Reading) -> Contents:
    # A pickle may be text too, that of protocol 0; all of them end with a full stop.
    if is_text(head) and block.read(block.size - 1, 1) != _STOP:
        raise refuse_text(head)
    try:
        first = reading.load(block, nested=lambda inner: stream.read_storage(inner, reading))
    except UnsafeSource:
        raise
    except SourceError:
        if head.startswith(_PICKLE):
            raise
        if is_text(head):
            raise refuse_text(head) from None
        raise refusal("is no file that PyTorch, NumPy or pickle wrote") from None
    if first.value == stream.MAGIC_NUMBER:
        return "torch-stream", {"": stream.read_object(block, first.end, reading)}
    check_whole(first, block)
    container, value = inner.opened(first.value, reading)
    return container, {"": value}
