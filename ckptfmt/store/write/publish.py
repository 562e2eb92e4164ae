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

from ckptfmt.errors import TargetExists, WriteError
from ckptfmt.format.files import MANIFEST, compressed_name, is_there, release
from ckptfmt.format.manifest import Manifest, render_manifest
from ckptfmt.format.siblings import aside_name
from ckptfmt.store.write.datafile import create, write_all
from ckptfmt.store.write.linux import exchange
from ckptfmt.store.write.place import Place, discard, sync_folder

__all__ = ["copy_file", "publish_file", "publish_folder"]

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
# What filesystems say that rename no folders; gcsfuse reports too many open files.
_NO_FOLDERS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM, errno.EINVAL, errno.EMFILE)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 8 << 20


def publish_folder(place: Place, stage: str, manifest: Manifest, *, replacing: bool) -> None:
    """Give the staged folder the target's name, durably; afterwards `stage` may name what it replaced.

    Raises `OSError` or `WriteError` with the target as it was before.
    """
    if not replacing:
        _publish_new(place, stage, manifest)
    elif exchange(place.folder, stage, place.folder, place.name):
        try:
            sync_folder(place.folder)
        except BaseException:
            exchange(place.folder, stage, place.folder, place.name)
            raise
    else:
        _publish_aside(place, stage)


def publish_file(source: int, staged: str, folder: int, name: str) -> None:
    """Let the staged file of the folder `source` replace `name` in `folder`, durably."""
    swapped = exchange(source, staged, folder, name)
    if not swapped:
        os.rename(staged, name, src_dir_fd=source, dst_dir_fd=folder)
    try:
        sync_folder(folder)
    except BaseException:
        if swapped:
            exchange(source, staged, folder, name)
        raise


def _publish_new(place: Place, stage: str, manifest: Manifest) -> None:
    try:
        # Of folders, rename replaces none that holds anything.
        os.rename(stage, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
    except OSError as e:
        if e.errno in _TAKEN:
            raise TargetExists(
                "came into being while it was written", where=place.path, fix="choose another folder"
            ) from None
        if e.errno in _NO_FOLDERS:
            _publish_copies(place, stage, manifest)
            return
        raise
    try:
        sync_folder(place.folder)
    except BaseException:
        os.rename(place.name, stage, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        raise


def _publish_aside(place: Place, stage: str) -> None:
    aside = aside_name(place.name)
    try:
        os.rename(place.name, aside, src_dir_fd=place.folder, dst_dir_fd=place.folder)
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
        sync_folder(place.folder)
        os.rename(stage, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        sync_folder(place.folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.rename(place.name, stage, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        os.rename(aside, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        raise
    discard(place.folder, aside)


def _publish_copies(place: Place, stage: str, manifest: Manifest) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(place.name, dir_fd=place.folder)
    source = os.open(stage, _FOLDER, dir_fd=place.folder)
    target = os.open(place.name, _FOLDER, dir_fd=place.folder)
    try:
        for name, entry in manifest.files.items():
            if is_there(source, name):
                _copy(source, target, name, entry.sha256, place.path)
            else:
                copy_file(source, target, compressed_name(name), place.path)
        sync_folder(target)
        _place_manifest(source, target, manifest, place.path)
        sync_folder(target)
        sync_folder(place.folder)
    except BaseException:
        discard(place.folder, place.name)
        raise
    finally:
        release(source)
        release(target)


def copy_file(source: int, target: int, name: str, where: str) -> None:
    """Copy a file whose digest stands nowhere, such as a compressed one, flushed and read back."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        sha256 = _sha256(file)
    finally:
        release(file)
    _copy(source, target, name, sha256, where)


def _place_manifest(source: int, target: int, manifest: Manifest, where: str) -> None:
    """Move the manifest; where nothing can be renamed, stores show a file once it is closed."""
    try:
        os.rename(MANIFEST, MANIFEST, src_dir_fd=source, dst_dir_fd=target)
    except OSError as e:
        if e.errno not in _NO_FOLDERS:
            raise
        _copy(source, target, MANIFEST, hashlib.sha256(render_manifest(manifest)).hexdigest(), where)


def _copy(source: int, target: int, name: str, sha256: str, where: str) -> None:
    """Copy a file, flushed; raise `WriteError` where what lies in the copy has another SHA-256."""
    old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        new = create(target, name)
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
    finally:
        release(old)


def _sha256(file: int) -> str:
    hasher, position = hashlib.sha256(), 0
    while block := os.pread(file, _BLOCK, position):
        hasher.update(block)
        position += len(block)
    return hasher.hexdigest()
