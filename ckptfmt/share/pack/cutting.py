"""Where the files of a run are cut, so that equal tensors of two checkpoints are equal parts."""

import os
from collections.abc import Iterator

from ckptfmt.errors import WriteError
from ckptfmt.format.dtypes import bits_of
from ckptfmt.format.files import release
from ckptfmt.format.manifest import FileEntry
from ckptfmt.format.record import record
from ckptfmt.format.writernames import parse_writer_name
from ckptfmt.share.pack.coding import PART

__all__ = ["Cut", "RunFolder", "changed", "cuts", "walk"]

# Small tensors lie side by side and go into one part, up to this many bytes.
_GATHERED = 256 << 10
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@record
class Cut:
    """A part of a file before it is stored; `width` is how many bytes an element has there."""

    begin: int
    size: int
    width: int


@record
class RunFolder:
    """A folder of the run: its path from the run ("" for the run itself), its files, what is left out.

    `descriptor` is the folder itself, whatever lies at its `place` by now.
    """

    path: str
    place: str
    descriptor: int
    files: tuple[str, ...]
    left: tuple[str, ...]


def walk(run: str) -> Iterator[RunFolder]:
    """Yield the folders of a run in the order of their names: steps come as they were saved.

    Each is held open until the next is asked for. Links, devices and what writers leave beside their targets are
    left out, but for a checkpoint that was set aside and is the only one of its target; nothing is followed.
    """
    yield from _walk(run, "", os.open(run, _FOLDER))


def _walk(place: str, path: str, descriptor: int) -> Iterator[RunFolder]:
    try:
        folders, files, left = _sorted_out(descriptor)
        yield RunFolder(path, place, descriptor, files, left)
        for name in folders:
            inner = os.path.join(place, name)
            try:
                opened = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            except FileNotFoundError:
                raise changed(inner) from None
            yield from _walk(inner, f"{path}/{name}".lstrip("/"), opened)
    finally:
        release(descriptor)


def _sorted_out(descriptor: int) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what lies in a folder by name: (the folders, the files, what is left out)."""
    with os.scandir(descriptor) as entries:
        there = {entry.name: entry for entry in entries}
    folders, files, left = list[str](), list[str](), list[str]()
    for name, entry in sorted(there.items()):
        of_writer = parse_writer_name(name)
        if of_writer and not (of_writer.kind == "old" and of_writer.stem not in there):
            left.append(name)
        elif entry.is_dir(follow_symlinks=False):
            folders.append(name)
        else:
            (files if entry.is_file(follow_symlinks=False) else left).append(name)
    return tuple(folders), tuple(files), tuple(left)


def changed(where: str) -> WriteError:
    """Return the error for what somebody wrote to, replaced or removed meanwhile."""
    return WriteError("changed while it was packed", where=where, fix="pack it again")


def cuts(size: int, entry: FileEntry | None) -> Iterator[Cut]:
    """Yield where a file of so many bytes is cut: at its tensors, if the manifest tells them."""
    # One that is compressed, or was changed, does not have its tensors where the manifest says.
    if entry is None or entry.bytes != size:
        yield from _cut(0, size, 1)
        return
    header, infos = entry.header
    begin, gathered, last = 0, 0, 1
    for length, width in [(len(header), 1), *((info.nbytes, _width(info.dtype)) for info in infos)]:
        # Bytes are sorted by their place in an element before they are compressed, so a part has elements of one width.
        if gathered and (width != last or gathered + length > _GATHERED):
            yield from _cut(begin, gathered, last)
            begin, gathered = begin + gathered, 0
        last, gathered = width, gathered + length
    yield from _cut(begin, gathered, last)


def _cut(begin: int, size: int, width: int) -> Iterator[Cut]:
    for start in range(begin, begin + size, PART):
        yield Cut(start, min(PART, begin + size - start), width)


def _width(dtype: str) -> int:
    return max(1, bits_of(dtype) // 8)
