"""Which files of a folder are to be converted, and where each goes."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator

from ckptfmt.errors import SourceError
from ckptfmt.families.names import words
from ckptfmt.format.files import MANIFEST
from ckptfmt.format.record import record
from ckptfmt.format.travelled import leads_out
from ckptfmt.legacy.address import refuse_address
from ckptfmt.legacy.distributed.kinds import is_distributed
from ckptfmt.legacy.sharded import INDEX, shards_of
from ckptfmt.remote.url import is_url, join

__all__ = ["Item", "Sources", "find_sources"]

# A file may be a checkpoint by its name or by its first bytes; what it is, its content decides when it is read.
_SUFFIXES = (
    *(".bin", ".ckpt", ".cleanrl_model", ".model", ".npz", ".pickle", ".pkl"),
    *(".msgpack", ".pt", ".pth", ".safetensors", ".t7", ".tar", ".th", ".zip", ".pdparams"),
)
_PACKED = (".gz", ".bz2", ".xz")
# Zip, pickles of protocols 2 to 5, gzip, bzip2 and xz. Protocols 0 and 1 begin with text, as anything may.
_MAGICS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ")


# Words of files that libraries write beside a network, in files of their own.
_BESIDE = frozenset({"optimizer", "optimizers", "optim", "variables", "scheduler"})


@record
class Item:
    """One file to convert and where to."""

    source: str
    dest: str


@record
class Sources:
    """The files to convert, in the order of their names, and how many others lie among them."""

    items: tuple[Item, ...]
    others: int


def find_sources(paths: Iterable[str | os.PathLike[str]], out_dir: str | os.PathLike[str]) -> Sources:
    """Return what `paths`, files and folders, hold to be converted into `out_dir`.

    The tree of a folder is mirrored, a file's suffix left out unless two would collide. Whatever can be no
    checkpoint by its name and first bytes is counted and left alone, and so are hidden and empty files, those of
    optimizers, what was unpacked beside its zip, checkpoints of this format, and `out_dir` itself. Files of one
    network are one with their index. Links that lead out of a folder are left alone too, but for those into a cache
    of downloads: its files are somebody else's, while a link that is named itself was meant. Below the URL of a
    folder the name alone decides. Raises `SourceError` for a path that does not exist.
    """
    roots = [os.fspath(path) for path in paths]
    out = os.fspath(out_dir)
    # Of several folders each keeps its name, or their files would meet in one.
    several = sum(map(os.path.isdir, roots)) > 1
    found: dict[str, str] = {}
    others = 0
    for root in roots:
        if not os.path.isdir(root):
            if not os.path.lexists(root):
                if is_url(root):
                    far, passed = _far(root, out)
                    found, others = {**found, **far}, others + passed
                    continue
                refuse_address(root, where=root)
                raise SourceError("there is no such file", where=root, fix="check the path", code="source.missing")
            found[root] = os.path.basename(root)
            continue
        below = os.path.basename(os.path.abspath(root)) if several else ""
        for path in _walk(root, os.path.realpath(out)):
            if os.path.isdir(path) or (_is_own(path, root) and _may_be_checkpoint(path)):
                # A folder that is itself a checkpoint is called as it is.
                if path == root:
                    found[path] = os.path.basename(os.path.abspath(root))
                else:
                    found[path] = os.path.join(below, os.path.relpath(path, root))
            else:
                others += 1
    return Sources(tuple(_items(found, out)), others)


def _far(url: str, out: str) -> tuple[dict[str, str], int]:
    """Return the sources at a URL with what each is called below it, and how many others there are."""
    # The import that waits: few sources lie in a store.
    from ckptfmt.convert.farsources import far_files

    found, others, seen = {}, 0, False
    for name, size in far_files(url, out):
        seen = True
        if size and (size < 0 or _by_name(os.path.basename(name))):
            found[join(url, name) if name else url] = name or os.path.basename(url.rstrip("/"))
        else:
            others += 1
    return (found, others) if seen else ({url: os.path.basename(url.rstrip("/"))}, 0)


def _items(found: dict[str, str], out: str) -> Iterator[Item]:
    """Yield each file with the shortest of three names that no other file has, and no folder of another's."""
    folders = {folder for name in found.values() for folder in _parents(name)}
    names = {path: (_stem(name), name, os.path.normpath(path).lstrip("./")) for path, name in found.items()}
    taken = [Counter(column) for column in zip(*names.values(), strict=True)]
    for path, choices in names.items():
        free = (name for name, counts in zip(choices, taken, strict=True) if counts[name] == 1 and name not in folders)
        yield Item(path, os.path.join(out, next(free, choices[-1])))


def _parents(name: str) -> Iterator[str]:
    while name := os.path.dirname(name):
        yield name


def _walk(root: str, out: str) -> Iterator[str]:
    refused: list[str] = []
    for folder, folders, files in os.walk(root, onerror=lambda error: refused.append(error.filename)):
        if is_distributed(folder):
            # Its files are no checkpoints, each by itself; all of them together are one.
            folders[:] = []
            yield folder
            continue
        # Stable-Baselines3's zips are often unpacked beside themselves: the same network once more.
        twins = {name.removesuffix(".zip") for name in files if name.endswith(".zip")}
        folders[:] = sorted(
            name for name in folders if name not in twins and _is_entered(os.path.join(folder, name), out)
        )
        indexes = (os.path.join(folder, name) for name in files if name.endswith(INDEX))
        shards = {shard for index in indexes if not leads_out(index, root) for shard in _shards(index)}
        yield from (os.path.join(folder, name) for name in sorted(files) if name[0] != "." and name not in shards)
    # What could not be looked into may hold checkpoints, and whoever opens it says why it could not.
    yield from refused


def _is_own(path: str, root: str) -> bool:
    """Return whether a file, and all that it lists where it is an index, can be read without leaving the folder."""
    if leads_out(path, root):
        return False
    shards = _shards(path) if path.endswith(INDEX) else ()
    return not any(leads_out(os.path.join(os.path.dirname(path), shard), root) for shard in shards)


def _shards(index: str) -> tuple[str, ...]:
    """Return the files that an index lists, which are one network with it; none for what is no index."""
    try:
        return tuple(shards_of(index))
    except SourceError:
        return ()


def _is_entered(folder: str, out: str) -> bool:
    if os.path.basename(folder).startswith(".") or os.path.realpath(folder) == out:
        return False
    return not os.path.exists(os.path.join(folder, MANIFEST))


def _may_be_checkpoint(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    if os.path.getsize(path) == 0:
        return False
    if path.endswith(INDEX):
        return bool(_shards(path))
    by_name = _by_name(os.path.basename(path))
    if by_name is not None:
        return by_name
    try:
        with open(path, "rb") as file:
            # The longest of them has six bytes; a read of eight is a read of one.
            return file.read(8).startswith(_MAGICS)
    except OSError:
        return True


def _by_name(name: str) -> bool | None:
    """Return whether a file may be a checkpoint by its name; None where its content decides."""
    if _BESIDE & frozenset(words(name)):
        return False
    if name.endswith(INDEX):
        return True
    stem, suffix = os.path.splitext(name.lower())
    packed = suffix in _PACKED
    if packed:
        stem, suffix = os.path.splitext(stem)
    if suffix in _SUFFIXES:
        return True
    return False if packed and suffix else None


def _stem(name: str) -> str:
    """Return a path without the suffixes of checkpoints, of which `x.pth.tar.gz` has three."""
    while True:
        stem, suffix = os.path.splitext(name.removesuffix(INDEX))
        if suffix.lower() not in _SUFFIXES and suffix.lower() not in _PACKED:
            return name
        name = stem
