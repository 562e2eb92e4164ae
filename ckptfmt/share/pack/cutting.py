"""Where the files of a run are cut, so that equal tensors of two checkpoints are equal parts."""

import os
import stat
from collections.abc import Iterator

from ckptfmt.errors import CkptError
from ckptfmt.format.dtypes import bits_of
from ckptfmt.format.files import MANIFEST, open_folder, release
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.parse import load_manifest
from ckptfmt.format.record import record
from ckptfmt.format.writernames import parse_writer_name
from ckptfmt.share.pack.coding import PART

__all__ = ["Cut", "RunFolder", "cuts", "walk"]

# Small tensors lie side by side and go into one part, up to this many bytes.
_GATHERED = 256 << 10


@record
class Cut:
    """A part of a file before it is stored; `width` is how many bytes an element has there."""

    begin: int
    size: int
    width: int


@record
class RunFolder:
    """A folder of the run: its path from the run ("" for the run itself), its files, what is left out.

    `manifest` is there where it is a checkpoint.
    """

    path: str
    files: tuple[str, ...]
    left: tuple[str, ...]
    manifest: Manifest | None


def walk(run: str) -> Iterator[RunFolder]:
    """Yield the folders of a run in the order of their names: steps come as they were saved.

    Links, devices and what writers leave beside their targets are left out; nothing is followed.
    """
    for place, folders, names in os.walk(run, onerror=_refuse):
        folders.sort()
        path = os.path.relpath(place, run).replace(os.sep, "/")
        inside = "" if path == "." else path
        left = [
            name for name in (*folders, *names) if parse_writer_name(name) or not _is_plain(os.path.join(place, name))
        ]
        folders[:] = [name for name in folders if name not in left]
        files = tuple(sorted(name for name in names if name not in left))
        yield RunFolder(inside, files, tuple(sorted(left)), _manifest(place) if MANIFEST in files else None)


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


def _is_plain(path: str) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _manifest(place: str) -> Manifest | None:
    """Return the manifest of a checkpoint; None for one that is damaged, whose files are kept all the same."""
    try:
        folder = open_folder(place)
        try:
            return load_manifest(folder, where=place)
        finally:
            release(folder)
    except CkptError:
        return None


def _refuse(error: OSError) -> None:
    raise error
