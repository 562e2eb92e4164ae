"""The one step that makes what was staged the checkpoint, on filesystems that differ in what they can.

Where two folders can change places (ext4, xfs, btrfs, tmpfs) they do. Where they cannot (NFS, most FUSE), the
old one is set aside under a name at which readers look when they find none, and the new one takes its place.
Where folders cannot be renamed at all (buckets), a new checkpoint is copied file by file, the manifest last,
and an old one is not replaced.
"""

import contextlib
import errno
import hashlib
import os
import stat

from ckptfmt.errors import TargetExists, WriteError, printable
from ckptfmt.format.files import MANIFEST, SIGNATURE, compressed_name, is_there, release
from ckptfmt.format.manifest import Manifest, render_manifest
from ckptfmt.format.writernames import aside_name
from ckptfmt.store.write.datafile import create, write_all
from ckptfmt.store.write.failure import disturbed
from ckptfmt.store.write.held import Held, hold_open
from ckptfmt.store.write.linux import exchange, rename_new, sync_folder
from ckptfmt.store.write.place import Place

__all__ = ["keep_file", "publish_file", "publish_folder"]

# What filesystems say that give a file no second name.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
# What filesystems say that rename no folders; gcsfuse reports too many open files.
_NO_FOLDERS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM, errno.EINVAL, errno.EMFILE)
_BLOCK = 8 << 20


def publish_folder(place: Place, stage: Held, manifest: Manifest, *, replacing: Held | None) -> None:
    """Give the staged folder the target's name, durably; afterwards its old name may name what it replaced.

    Raises `OSError` or `WriteError` with the target as it was before; the latter where names stand for other
    things than those that are held.
    """
    _check_staged(place, stage, manifest, replacing)
    # The last look before the step: nothing but the step itself lies behind it.
    if (replacing and not replacing.is_at(place.name)) or not stage.is_at(stage.name):
        raise disturbed(place.path)
    if replacing is None:
        _publish_new(place, stage, manifest)
    elif exchange(place.folder, stage.name, place.folder, place.name):
        try:
            if not (stage.is_at(place.name) and replacing.is_at(stage.name)):
                raise disturbed(place.path)
            sync_folder(place.folder)
        except BaseException:
            # Where the old one is not at hand any more, the new one is better than what would come in its place.
            if replacing.is_at(stage.name):
                exchange(place.folder, stage.name, place.folder, place.name)
            raise
    else:
        _publish_aside(place, stage, replacing)


def publish_file(place: Place, staged: Held, folder: Held, name: str, old: Held | None) -> None:
    """Let the staged file be called `name` in the target's `folder`, durably, in place of `old`, which is there."""
    if not staged.is_at(staged.name) or (old and not old.is_at(name)):
        raise disturbed(place.path)
    if old is None:
        rename_new(place.folder, staged.name, folder.file, name)
        swapped = False
    elif not (swapped := exchange(place.folder, staged.name, folder.file, name)):
        os.rename(staged.name, name, src_dir_fd=place.folder, dst_dir_fd=folder.file)
    try:
        if not staged.is_at(name, folder.file) or (swapped and old and not old.is_at(staged.name, place.folder)):
            raise disturbed(place.path)
        sync_folder(folder.file)
    except BaseException:
        if swapped and old and old.is_at(staged.name, place.folder):
            exchange(place.folder, staged.name, folder.file, name)
        elif old is None and staged.is_at(name, folder.file):
            rename_new(folder.file, name, place.folder, staged.name)
        raise


def _check_staged(place: Place, stage: Held, manifest: Manifest, replacing: Held | None) -> None:
    """Raise `WriteError` where the staging folder holds anything but the files that were written into it."""
    stored = {MANIFEST: None, **{name: manifest.files.get(name) for name in _stored(stage, manifest)}}
    # A signature goes along where the files only change their form.
    kept = {SIGNATURE} if replacing is not None and is_there(replacing.file, SIGNATURE) else set()
    if set(os.listdir(stage.file)) - kept != set(stored):
        raise disturbed(place.path)
    for name, entry in stored.items():
        there = os.stat(name, dir_fd=stage.file, follow_symlinks=False)
        if not stat.S_ISREG(there.st_mode) or (entry is not None and there.st_size != entry.bytes):
            raise disturbed(place.path)


def _stored(stage: Held, manifest: Manifest) -> list[str]:
    """Return the names of the manifest's files in the form in which each was staged."""
    return [name if is_there(stage.file, name) else compressed_name(name) for name in manifest.files]


def _publish_new(place: Place, stage: Held, manifest: Manifest) -> None:
    try:
        _take_name(place, stage)
    except OSError as e:
        if e.errno in _TAKEN:
            raise TargetExists(
                "was created by another program while this was written", where=place.path, fix="choose another folder"
            ) from None
        if e.errno in _NO_FOLDERS:
            _publish_copies(place, stage, manifest)
            return
        raise
    try:
        if not stage.is_at(place.name):
            raise disturbed(place.path)
        sync_folder(place.folder)
    except BaseException:
        if stage.is_at(place.name):
            rename_new(place.folder, place.name, place.folder, stage.name)
        raise


def _take_name(place: Place, stage: Held) -> None:
    """Rename the staged folder to the target, where nothing is or an empty folder."""
    try:
        rename_new(place.folder, stage.name, place.folder, place.name)
    except FileExistsError:
        if not stage.is_at(stage.name):
            raise
        # Of folders, rename replaces none that holds anything.
        os.rename(stage.name, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)


def _publish_aside(place: Place, stage: Held, replacing: Held) -> None:
    aside = aside_name(place.name)
    try:
        moved = replacing.move(aside)
    except FileExistsError:
        what = f"'{printable(aside, 120)}', the name that the old checkpoint needs for a moment, is taken"
        raise WriteError(what, where=place.path, fix="move that away", code="write.aside") from None
    except OSError as e:
        if e.errno not in _NO_FOLDERS:
            raise
        raise WriteError(
            "this filesystem cannot replace a folder in one step",
            where=place.path,
            fix="save to a new folder",
            code="write.no-replace",
        ) from e
    try:
        if not moved:
            raise disturbed(place.path)
        sync_folder(place.folder)
        if not stage.move(place.name):
            raise disturbed(place.path)
        sync_folder(place.folder)
    except BaseException:
        with contextlib.suppress(OSError):
            if stage.is_at(place.name):
                rename_new(place.folder, place.name, place.folder, stage.name)
        if replacing.is_at(aside):
            rename_new(place.folder, aside, place.folder, place.name)
        raise
    replacing.remove(aside)


def _publish_copies(place: Place, stage: Held, manifest: Manifest) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(place.name, dir_fd=place.folder)
    with hold_open(place.folder, place.name) as target:
        if target is None or not target.is_folder or os.listdir(target.file):
            raise TargetExists(
                "was created by another program while this was written", where=place.path, fix="choose another folder"
            )
        with contextlib.ExitStack() as undo:
            undo.callback(_remove_empty, target)
            for name in _stored(stage, manifest):
                entry = manifest.files.get(name)
                copied = (
                    _copy(stage.file, target.file, name, entry.sha256, place.path)
                    if entry
                    else copy_file(stage.file, target.file, name, place.path)
                )
                undo.callback(copied.remove)
            sync_folder(target.file)
            undo.callback(_place_manifest(stage.file, target.file, manifest, place.path).remove)
            sync_folder(target.file)
            sync_folder(place.folder)
            undo.pop_all()


def _remove_empty(target: Held) -> None:
    with contextlib.suppress(OSError):
        if target.is_at(target.name):
            os.rmdir(target.name, dir_fd=target.folder)


def copy_file(source: int, target: int, name: str, where: str) -> Held:
    """Copy a file whose digest stands nowhere, such as a compressed one, flushed and read back."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        sha256 = _sha256(file)
    finally:
        release(file)
    return _copy(source, target, name, sha256, where)


def _place_manifest(source: int, target: int, manifest: Manifest, where: str) -> Held:
    """Move the manifest and return it; where nothing can be renamed, stores show a file once it is closed."""
    try:
        rename_new(source, MANIFEST, target, MANIFEST)
    except OSError as e:
        if e.errno not in _NO_FOLDERS:
            raise
        return _copy(source, target, MANIFEST, hashlib.sha256(render_manifest(manifest)).hexdigest(), where)
    return Held(target, MANIFEST, -1, os.stat(MANIFEST, dir_fd=target, follow_symlinks=False))


def _copy(source: int, target: int, name: str, sha256: str, where: str) -> Held:
    """Copy a file, flushed, and return it; raise `WriteError` where what lies in the copy has another SHA-256."""
    old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        new = create(target, name)
        copied = Held(target, name, -1, os.fstat(new))
        try:
            try:
                while block := os.read(old, _BLOCK):
                    write_all(new, block)
                os.fsync(new)
                if _sha256(new) != sha256:
                    raise WriteError("what was copied is not what was written", where=where, code="write.read-back")
            except BaseException:
                release(new)
                raise
            os.close(new)
        except BaseException:
            copied.remove()
            raise
    finally:
        release(old)
    return copied


def _sha256(file: int) -> str:
    hasher, position = hashlib.sha256(), 0
    while block := os.pread(file, _BLOCK, position):
        hasher.update(block)
        position += len(block)
    return hasher.hexdigest()


def keep_file(source: int, name: str, target: int, where: str) -> None:
    """Give a file of one folder a second name in another; where there are none, copy it."""
    kept = name if is_there(source, name) else compressed_name(name)
    try:
        os.link(kept, kept, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
        copy_file(source, target, kept, where)
