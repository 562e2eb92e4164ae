"""Commit: stage beside the target, flush, read back, publish by one rename.

Everything is written and flushed in a staging folder beside the target, the manifest last, and read back;
then one rename publishes it. At every instant the target is the old checkpoint or the new one, whole.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from ckptfmt.errors import WriteError
from ckptfmt.format.files import MANIFEST, is_there, open_folder, release
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.parse import load_manifest
from ckptfmt.format.shards import plain_name
from ckptfmt.format.uncollected import uncollected
from ckptfmt.format.writernames import stage_name
from ckptfmt.remote.url import as_path, is_url
from ckptfmt.store.write.acceptance import accepted, require_few
from ckptfmt.store.write.datafile import create, write_all, write_files
from ckptfmt.store.write.expected import changed_since, require_expected
from ckptfmt.store.write.failure import disturbed, reported, require_space
from ckptfmt.store.write.held import Held, hold_open, note_files
from ckptfmt.store.write.linux import sync_folder
from ckptfmt.store.write.place import Place, hold_place
from ckptfmt.store.write.proof import read_whole
from ckptfmt.store.write.publish import keep_file, publish_file, publish_folder
from ckptfmt.store.write.split import split_of, with_split
from ckptfmt.store.write.tensorfile import Arranged, TensorFile

__all__ = [
    "MANIFEST_SPACE",
    "remove_checkpoint",
    "replace_file",
    "require_update",
    "stage",
    "update_manifest",
    "write_checkpoint",
    "write_file",
]

# What a manifest takes beside the tensors: a part of its own, and a part for each tensor.
MANIFEST_SPACE = 64 << 10
# What an entry of a tensor takes in the manifest, names of usual length among it.
_TENSOR_SPACE = 512


def write_checkpoint(
    path: str | os.PathLike[str],
    files: Mapping[str, TensorFile],
    build: Callable[[Mapping[str, FileEntry]], Manifest],
    *,
    overwrite: bool = False,
    expected: Manifest | bytes | None = None,
    kept: Iterable[str] = (),
    wait: float = 0.0,
    bulk: bool = False,
    published: Callable[[int], None] | None = None,
) -> Manifest:
    """Write a checkpoint of `files` (names of `format.files.SAFETENSORS`, or of parts) at `path`; return its manifest.

    `build` is called once all tensors are on the disk, with the entries that describe them; digests are filled
    in afterwards, and what a reader makes of the manifest's bytes is what is returned. Another writer of the same
    path is waited for `wait` seconds. With `overwrite` a checkpoint that is there is replaced in one step; without
    it, and for anything that is no checkpoint, `TargetExists` is raised. With `expected`, the manifest that was read
    there or its bytes, only that checkpoint is replaced, and `WriteError` raised for another one; files `kept` of it
    stay beside the new ones. At the URL of a
    bucket nothing that was committed is ever replaced: there `overwrite` takes over what an upload left that did not
    finish. `bulk` is for one of many checkpoints, as of `write_files`. `published` is given a descriptor of the folder
    that was written, once it is at `path`, for who goes on to read what lies there; not where files had to be copied to
    another folder or into a store. Raises `ManifestError` for a manifest that no reader accepts, `WriteError` for every
    other failure; what was there before is left.
    """
    where = as_path(path)
    if unknown := sorted(name for name in files if plain_name(name) is None):
        raise WriteError(f"{unknown[0]} is not the name of a checkpoint's file", where=where, code="write.file-name")
    require_few(sum(file.count for file in files.values()), where=where)
    if is_url(path):
        return _write_far(where, files, build, take_over=overwrite, bulk=bulk)
    with (
        reported(where),
        uncollected(_TENSOR_SPACE * sum(len(file.tensors) for file in files.values())),
        hold_place(path, wait=wait) as place,
        place.occupant(overwrite=overwrite) as before,
    ):
        if expected is not None:
            require_expected(before, expected, where=where)
        arranged = {name: file.arranged() for name, file in files.items()}
        require_space(place.folder, _space(arranged.values()), where=where)
        with stage(place, before) as staged:
            entries = write_files(staged.file, files, where=where, bulk=bulk, arranged=arranged)
            data, manifest = accepted(with_split(build(entries), split_of(staged.file, entries, where)), where=where)
            for name in kept:
                if before is not None and is_there(before.file, name):
                    keep_file(before.file, name, staged.file, where)
            write_file(staged.file, MANIFEST, data, where=where)
            # The names in the folder, behind the files: only then may it get its name.
            os.fsync(staged.file)
            publish_folder(place, staged, manifest, replacing=before)
            if published is not None and staged.is_at(place.name):
                published(staged.file)
    return manifest


def _write_far(
    where: str,
    files: Mapping[str, TensorFile],
    build: Callable[[Mapping[str, FileEntry]], Manifest],
    *,
    take_over: bool,
    bulk: bool,
) -> Manifest:
    # The import that waits, here and below: few write into a store.
    from ckptfmt.store.remote.write import publish_near, staged_near

    with staged_near(where) as near:
        manifest = write_checkpoint(near, files, build, bulk=bulk)
        publish_near(near, where, take_over=take_over)
    return manifest


def update_manifest(
    path: str | os.PathLike[str],
    change: Callable[[Manifest], Manifest],
    *,
    expected: Manifest | None = None,
    wait: float = 0.0,
) -> Manifest:
    """Replace the manifest of the checkpoint at `path` by `change` of it, in one step, and return the new one.

    The files of the checkpoint are not touched and stay listed as they are. With `expected`, only where that is what
    lies there. Raises as `write_checkpoint`, and what `change` raises.
    """
    where = as_path(path)
    if is_url(path):
        from ckptfmt.store.remote.write import update_far

        return update_far(where, change, expected=expected)
    with (
        reported(where),
        _existing(path),
        hold_place(path, wait=wait) as place,
        place.checkpoint() as folder,
        hold_open(folder.file, MANIFEST) as old,
    ):
        current = load_manifest(folder.file, where=where)
        if expected is not None and current.manifest_digest != expected.manifest_digest:
            raise changed_since(where)
        changed = change(current)
        if changed.files != current.files:
            raise WriteError(
                "a change of the manifest must leave its files as they are", where=where, code="write.file-name"
            )
        data, manifest = accepted(changed, where=where)
        replace_file(place, folder, MANIFEST, data, old)
    return manifest


def require_update(path: str | os.PathLike[str]) -> None:
    """Raise what keeps `update_manifest` from writing now, before there is something to write."""
    where = as_path(path)
    if is_url(path):
        from ckptfmt.store.remote.write import far_folder

        far_folder(where)
        return
    with reported(where), _existing(path), hold_place(path) as place, place.checkpoint() as folder:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.file, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def replace_file(place: Place, folder: Held, name: str, data: bytes, old: Held | None) -> None:
    """Let a file with `data` be called `name` in the target's `folder`, in one step, in place of `old`."""
    staged = stage_name(place.name)
    new = Held(place.folder, staged, -1, write_file(place.folder, staged, data, where=place.path))
    try:
        publish_file(place, new, folder, name, old)
    finally:
        # What has the staging name in the end: what was not published, or what it replaced.
        for state in (new.state, old.state if old else new.state):
            Held(place.folder, staged, -1, state).remove()


def remove_checkpoint(path: str | os.PathLike[str], *, digest: str = "", wait: float = 0.0) -> None:
    """Remove the checkpoint at `path`: from one instant to the next it is not there any more.

    With a `digest` it is removed only while it is whole and that is its manifest's. Raises `TargetExists` where it
    holds foreign files or is a link, `WriteError` where somebody writes it or it is another one by now.
    """
    where = as_path(path)
    if is_url(path):
        from ckptfmt.store.remote.write import remove_far

        remove_far(where, digest=digest)
        return
    with (
        reported(where),
        _existing(path),
        hold_place(path, wait=wait) as place,
        place.occupant(overwrite=True) as there,
    ):
        if there is None:
            return
        if digest and ((manifest := read_whole(there.file, where)) is None or manifest.manifest_digest != digest):
            raise WriteError("is damaged or was changed since it was saved", where=where, code="write.changed")
        name = stage_name(place.name)
        if not there.move(name):
            raise disturbed(where)
        # Else a power cut may bring the name back after the files have gone.
        sync_folder(place.folder)
        there.remove(name)


@contextlib.contextmanager
def _existing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise `NotACheckpoint` where there is no folder, before anything is made for a lock."""
    release(open_folder(path))
    yield


def write_file(folder: int, name: str, data: bytes, *, where: str) -> os.stat_result:
    """Write a new file, flushed to the disk and read back; return what it is."""
    file = create(folder, name)
    state = os.fstat(file)
    try:
        try:
            write_all(file, data)
            os.fsync(file)
            # One byte more than was written shows a file that is too long.
            same = os.pread(file, len(data) + 1, 0) == data
        except BaseException:
            release(file)
            raise
        os.close(file)
        if not same:
            raise WriteError(
                "what was read back is not what was written",
                where=os.path.join(where, name),
                fix="check the disk and the memory of this machine",
                code="write.read-back",
            )
    except BaseException:
        Held(folder, name, -1, state).remove()
        raise
    return state


@contextlib.contextmanager
def stage(place: Place, before: Held | None) -> Iterator[Held]:
    """Make a staging folder; what of ours has its name in the end, the predecessor for one, is removed."""
    name = stage_name(place.name)
    os.mkdir(name, dir_fd=place.folder)
    with contextlib.ExitStack() as stack:
        try:
            staged = stack.enter_context(hold_open(place.folder, name))
        except BaseException:
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=place.folder)
            raise
        # Between mkdir and open somebody may have put something else there.
        if staged is None or not staged.is_folder or os.listdir(staged.file):
            raise disturbed(place.path)
        stack.enter_context(note_files(staged.file))
        try:
            yield staged
        finally:
            for held in (staged, before):
                if held is not None and held.is_at(name):
                    held.remove(name)


def _space(files: Iterable[Arranged]) -> int:
    needed = MANIFEST_SPACE
    for header, infos in files:
        needed += len(header) + (infos[-1].end if infos else 0) + _TENSOR_SPACE * len(infos)
    return needed
