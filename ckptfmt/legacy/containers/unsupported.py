"""What a file is that is no checkpoint: one clear sentence for each kind."""

import codecs
import re

from ckptfmt.errors import SourceError, printable
from ckptfmt.format.travelled import LINK_FIX, link_text
from ckptfmt.legacy.bytes.blocks import Block

__all__ = ["HEAD", "is_text", "refusal", "refuse_text", "refuse_unsupported"]

# All marks of files lie in their first bytes, and text shows there too.
HEAD = 1024
_WEIGHTS = "give the file of weights that PyTorch saved"
_UNPACK = "unpack it and give the checkpoint in it"

_LUA = "is a file of Torch7 (Lua) as text, which is not read here"
_AS_BINARY = "save it in the binary form, which torch.save(file, object) writes"

# (offset, first bytes, what it is, mend)
_MAGIC = (
    (0, b"GGUF", "is a GGUF file of a language model", _WEIGHTS),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "is a RAR archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd", _UNPACK),
    (0, b"\x04\x22\x4d\x18", "is compressed with lz4", _UNPACK),
    (0, b"\x1f\x9d", "is compressed with compress", _UNPACK),
    (0, b"SQLite format 3\x00", "is an SQLite database", _WEIGHTS),
    (0, b"\x93NUMPY", "is a single NumPy array", "save the arrays of a network with numpy.savez"),
    (0, b"\x7fELF", "is a program", _WEIGHTS),
    (0, b"MZ", "is a program", _WEIGHTS),
    (0, b"\x89PNG\r\n", "is a PNG image", _WEIGHTS),
    (0, b"\xff\xd8\xff", "is a JPEG image", _WEIGHTS),
    (0, b"GIF8", "is a GIF image", _WEIGHTS),
    (0, b"%PDF-", "is a PDF document", _WEIGHTS),
    (0, b"ARROW1", "is an Arrow file", _WEIGHTS),
    (0, b"PAR1", "is a Parquet file", _WEIGHTS),
    (4, b"TFL3", "is a TensorFlow Lite model", _WEIGHTS),
    (4, b"ftyp", "is a video", _WEIGHTS),
)
_LUA_TEXT = re.compile(rb"[34]\n1\n(?:3\nV 1\n|[0-9]+\n)")
_TENSORFLOW_INDEX = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<!--")


def refusal(what: str, fix: str = _WEIGHTS, code: str = "source.not-a-checkpoint") -> SourceError:
    """Return the error for a file that holds no checkpoint."""
    return SourceError(what, fix=fix, code=code)


def refuse_unsupported(block: Block) -> None:
    """Raise `SourceError` with a sentence for each kind of file that is known to be no checkpoint."""
    head = block.read(0, min(HEAD, block.size))
    for offset, magic, what, fix in _MAGIC:
        if head.startswith(magic, offset):
            raise refusal(f"{what}, not a checkpoint", fix)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        raise refusal(
            "is a Git LFS pointer, the checkpoint itself was not fetched", "run: git lfs pull", "source.lfs-pointer"
        )
    if text.startswith(_PAGES):
        raise refusal(
            "is a web page, saved in the place of a checkpoint", "download the file itself", "source.web-page"
        )
    if text.startswith((b"model_checkpoint_path:", b"all_model_checkpoint_paths:")) or _is_tensorflow_index(block):
        raise refusal("is part of a TensorFlow checkpoint, which is not read here")
    if _is_onnx(head):
        raise refusal("is an ONNX model, which is not read here")
    if not head.strip(b"\x00") and block.size >= HEAD:
        raise refusal("begins with nothing but zero bytes", "copy or download it again", "source.damaged")


def refuse_text(head: bytes) -> SourceError:
    """Return the error for a file that is text, with what is known of such texts."""
    if _LUA_TEXT.match(head):
        return refusal(_LUA, _AS_BINARY)
    if end := link_text(head):
        return refusal(
            f"is the text of a link to '{printable(end, 200)}', which was not kept as one", LINK_FIX, "source.link"
        )
    return refusal("is text, not a checkpoint")


def is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are plain text."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)


def _is_tensorflow_index(block: Block) -> bool:
    # The footer of a table of LevelDB, which a TensorFlow index is, takes 48 bytes.
    return block.size >= 48 and block.read(block.size - 8, 8) == _TENSORFLOW_INDEX


def _is_onnx(head: bytes) -> bool:
    """Return whether a file begins as an ONNX ModelProto: a small ir_version, then the producer or the graph."""
    # Protobuf: field 1 is a number, the version of the IR, below 32 so far; field 2 names the producer, field 7 is
    # the graph.
    return len(head) > 8 and head[0] == 0x08 and head[1] < 0x20 and head[2] in (0x12, 0x3A)
