"""A file of a checkpoint as text, one line a fact, so that what changed is a line that changed."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import MANIFEST, MAX_MANIFEST
from ckptfmt.format.jsontext import parse
from ckptfmt.format.numeric import block_bytes
from ckptfmt.format.safetensors import shape_text
from ckptfmt.format.travelled import MAX_POINTER, lfs_object
from ckptfmt.format.versions import FORMAT
from ckptfmt.look.diff.views import LegacyView, open_view
from ckptfmt.look.stats import tensor_stats

__all__ = ["describe", "is_manifest", "pointer"]

# Digests move with every other value and say nothing by themselves.
_LEFT_OUT = ("content_digest", "manifest_digest")


def describe(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the lines that stand for the file at `path`: a manifest, a file of tensors, a pointer of Git LFS.

    A tensor is its name, dtype, shape, digest and figures. A manifest of another program is its own lines. Raises
    `CkptError` where the file is none of these.
    """
    if (oid := pointer(path)) is not None:
        yield f"git-lfs {printable(oid)}, the content was not fetched; run: git lfs pull"
        return
    with open(path, "rb") as file:
        first = file.read(1)
        # git gives a copy, whose name ends as that of the file.
        if first == b"{" or os.fspath(path).endswith(MANIFEST):
            yield from _manifest(first + file.read(MAX_MANIFEST))
            return
    with open_view(path) as view:
        yield from _tensors(view) if isinstance(view, LegacyView) else ()


def is_manifest(data: bytes) -> bool:
    """Whether a file called manifest.json is a checkpoint's: other programs have files of that name as well."""
    return _said(data) is not None


def pointer(path: str | os.PathLike[str]) -> str | None:
    """Return the object id where the file is a pointer of Git LFS, `sha256:` and 64 digits; else None."""
    with open(path, "rb") as file:
        named = lfs_object(file.read(MAX_POINTER))
    return named and f"sha256:{named}"


def _said(data: bytes) -> dict[str, Any] | None:
    try:
        said = parse(data, where=MANIFEST, limit=MAX_MANIFEST)
    except CkptError:
        return None
    return said if isinstance(said, dict) and said.get("format") == FORMAT else None


def _manifest(data: bytes) -> Iterator[str]:
    said = _said(data)
    if said is None:
        yield from data.decode("utf-8", "replace").splitlines()
        return
    for name, value in said.items():
        if name not in _LEFT_OUT:
            # The tensors are told by the diff of their own file.
            yield from _file_lines(value) if name == "files" else _flat(value, printable(name))


def _file_lines(files: Any) -> Iterator[str]:
    for name, entry in files.items() if isinstance(files, Mapping) else ():
        sizes = {key: value for key, value in entry.items() if key != "tensors"} if isinstance(entry, Mapping) else {}
        yield from _flat(sizes, f"files.{printable(name)}")


def _flat(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{printable(name)}")
    else:
        yield f"{path} {json.dumps(value)}"


def _tensors(view: LegacyView) -> Iterator[str]:
    for (_, name), tensor in view.tensors.items():
        shape = shape_text(tensor.shape, "scalar")
        stats = tensor_stats(tensor.chunks(block_bytes(tensor.dtype)), tensor.dtype)
        figures = ""
        if stats is not None and stats.mean is not None:
            figures = f"  mean {stats.mean:+.6g} std {stats.std:.6g} min {stats.min:.6g} max {stats.max:.6g}"
        yield f"{printable(name)}  {tensor.dtype} {shape}  {tensor.digest[:12]}{figures}"
