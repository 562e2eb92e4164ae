"""Which objects below a URL are to be converted: told by their names, since to look into each is a request."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ckptfmt.format.files import MANIFEST
from ckptfmt.legacy.distributed.kinds import is_of_folder
from ckptfmt.legacy.sharded import INDEX, is_shard
from ckptfmt.remote.far import open_far
from ckptfmt.remote.url import join

if TYPE_CHECKING:
    from ckptfmt.remote.folder import FarFolder

__all__ = ["far_files"]


def far_files(url: str, out: str) -> Iterator[tuple[str, int]]:
    """Yield the names below a URL and their sizes, -1 of a folder that is one source; nothing where it is a file.

    Those in checkpoints of this format, in hidden folders and in `out` are passed over; of a network in several files
    its index is there alone.
    """
    folders: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for path, size in _walk(open_far(url)):
        folder, _, name = path.rpartition("/")
        folders[folder][name] = size
    known = {folder for folder, files in folders.items() if MANIFEST in files}
    for folder in sorted(folders):
        files = folders[folder]
        above = [folder, *_parents(folder)]
        hidden = any(part.startswith(".") for part in folder.split("/"))
        if hidden or known.intersection(above) or any(join(url, name) == out.rstrip("/") for name in above):
            continue
        begin = f"{folder}/" if folder else ""
        if any(map(is_of_folder, files)):
            yield folder, -1
            continue
        has_index = any(name.endswith(INDEX) for name in files)
        for name in sorted(files):
            if not name.startswith(".") and not (has_index and is_shard(name)):
                yield begin + name, files[name]


def _walk(folder: "FarFolder") -> Iterator[tuple[str, int]]:
    if not folder.can_list:
        return
    # A bucket lists all that is below in one go.
    walk = getattr(folder, "walk", None)
    yield from walk() if walk is not None else folder.names().items()


def _parents(folder: str) -> Iterator[str]:
    while folder := folder.rpartition("/")[0]:
        yield folder
