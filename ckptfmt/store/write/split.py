"""What tensors are whole that were written in slices: read back across all files, which proves the slices too."""

import dataclasses
from collections.abc import Mapping

from ckptfmt.format.joined import pieces
from ckptfmt.format.manifest import FileEntry, Manifest, SplitEntry, WholeEntry
from ckptfmt.format.shards import is_sharded, together
from ckptfmt.format.versions import FORMAT_VERSION, SHARDED_VERSION
from ckptfmt.store.datafiles import DataFiles

__all__ = ["split_of", "with_split"]


def split_of(
    folder: int, entries: Mapping[str, FileEntry], where: str, *, share: int = 0, shares: int = 1
) -> dict[str, SplitEntry]:
    """Return the whole tensors that slices in the files of a folder make, by plain file; none where none is in parts.

    Of `shares` processes each does its `share` of them. Raises `WeightsError` where a slice is not what was written.
    """
    found = {
        (plain, name): group
        for plain in together(entries)
        for name, group in pieces(entries, plain).items()
        if group[0].entry.slice is not None
    }
    if not found:
        return {}
    # The import that waits: slices are put together with NumPy.
    from ckptfmt.store.slices import whole_digest

    split: dict[str, dict[str, WholeEntry]] = {}
    data = DataFiles(folder, entries, where)
    try:
        # The largest first, in turn, so that the shares are alike.
        order = sorted(found, key=lambda place: (-sum(piece.size for piece in found[place]), place))
        for plain, name in order[share::shares]:
            first = found[plain, name][0].entry
            shape = tuple(first.slice.of) if first.slice else ()
            digest = whole_digest(shape, found[plain, name], data)
            split.setdefault(plain, {})[name] = WholeEntry(dtype=first.dtype, shape=shape, digest=digest)
    finally:
        data.close()
    return {plain: SplitEntry(tensors=tensors) for plain, tensors in split.items()}


def with_split(manifest: Manifest, split: Mapping[str, SplitEntry]) -> Manifest:
    """Return a manifest that says what its slices make, in the version that knows of them where it has any."""
    known = manifest.format_version
    if is_sharded(manifest.files) and known == FORMAT_VERSION:
        known = SHARDED_VERSION
    ordered = {
        plain: SplitEntry(tensors={name: split[plain].tensors[name] for name in sorted(split[plain].tensors)})
        for plain in together(split)
    }
    return dataclasses.replace(manifest, split=ordered, format_version=known)
