"""A file of a checkpoint as text, one line a fact, so that what changed is a line that changed."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import MANIFEST, MAX_MANIFEST, open_single, read_exactly, release
from ckptfmt.format.jsontext import parse
from ckptfmt.format.numeric import block_bytes
from ckptfmt.format.safetensors import shape_text
from ckptfmt.format.travelled import MAX_POINTER, lfs_object
from ckptfmt.format.versions import FORMAT
from ckptfmt.look.diff.changes import inner_path
from ckptfmt.look.diff.views import LegacyView, open_view
from ckptfmt.look.stats import tensor_stats

__all__ = ["describe", "is_manifest", "pointer", "read_start"]

# Digests move with every other value and say nothing by themselves.
_LEFT_OUT = ("content_digest", "manifest_digest")
# Of a manifest; its paths may take a kilobyte each.
_MOST_LINES = 10_000


def describe(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the lines that stand for the file at `path`: a manifest, a file of tensors, a pointer of Git LFS.

    A tensor is its name, dtype, shape, digest and figures. A manifest of another program is its own lines. Raises
    `CkptError` where the file is none of these. Of a manifest of very many values the last line stands for the rest.
    """
    if (oid := pointer(path)) is not None:
        yield f"git-lfs {printable(oid)}, the content was not fetched; run: git lfs pull"
        return
    # git gives a copy, whose name ends as that of the file.
    if read_start(path, 1) == b"{" or os.fspath(path).endswith(MANIFEST):
        yield from _manifest(read_start(path, MAX_MANIFEST + 1))
        return
    with open_view(path) as view:
        yield from _tensors(view) if isinstance(view, LegacyView) else ()


def is_manifest(data: bytes) -> bool:
    """Whether a file called manifest.json is a checkpoint's: other programs have files of that name as well."""
    return _said(data) is not None


def pointer(path: str | os.PathLike[str]) -> str | None:
    """Return the object id where the file is a pointer of Git LFS, `sha256:` and 64 digits; else None."""
    named = lfs_object(read_start(path, MAX_POINTER))
    return named and f"sha256:{named}"


def read_start(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the first `most` bytes of a file, or all that it has; raise `CkptError` for a pipe, a device, a folder."""
    file, size = open_single(path)
    try:
        return read_exactly(file, 0, min(size, most), where=os.fspath(path))
    finally:
        release(file)


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
    yield from _first(
        line
        for name, value in said.items()
        if name not in _LEFT_OUT
        # The tensors are told by the diff of their own file.
        for line in (_file_lines(value) if name == "files" else _flat(value, printable(name)))
    )


def _first(lines: Iterable[str]) -> Iterator[str]:
    """Yield the first lines; where there are more, one that changes with any of them."""
    rest = iter(lines)
    yield from islice(rest, _MOST_LINES)
    more, hasher = 0, hashlib.sha256()
    for line in rest:
        more += 1
        hasher.update(f"{line}\n".encode())
    if more:
        yield f"and {more:,} more, sha256 {hasher.hexdigest()}"


def _file_lines(files: Any) -> Iterator[str]:
    for name, entry in files.items() if isinstance(files, Mapping) else ():
        sizes = {key: value for key, value in entry.items() if key != "tensors"} if isinstance(entry, Mapping) else {}
        yield from _flat(sizes, f"files.{printable(name)}")


def _flat(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, inner_path(path, printable(name)))
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
