"""Save into a bucket, change a manifest there, remove a checkpoint: what writers on a disk do, on conditions."""

import contextlib
import hashlib
import os
import posixpath
import secrets
import tempfile
from collections.abc import Callable, Iterator

from ckptfmt.errors import CkptError, Locked, MissingFile, NotACheckpoint, TargetExists, WriteError
from ckptfmt.format.far import REMOVED, far_manifest, is_manifest
from ckptfmt.format.files import (
    HUB_WEIGHTS,
    MANIFEST,
    MAX_MANIFEST,
    compressed_name,
    is_companion,
    open_file,
    open_near,
    read_manifest,
    release,
)
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.writernames import parse_writer_name
from ckptfmt.remote.address import parse
from ckptfmt.remote.bucket import BucketFolder, changed_word
from ckptfmt.remote.failure import Taken
from ckptfmt.remote.store import Found
from ckptfmt.remote.url import join
from ckptfmt.store.remote.names import in_the_way, near_files
from ckptfmt.store.remote.probe import require_conditions
from ckptfmt.store.remote.publish import Progress, Sent, file_parts, publish
from ckptfmt.store.write.acceptance import accepted
from ckptfmt.store.write.expected import changed_since
from ckptfmt.store.write.place import WRITERS_OWN

__all__ = ["far_folder", "publish_near", "publish_open", "remove_far", "sent_file", "staged_near", "update_far"]


def far_folder(url: str) -> BucketFolder:
    """Return the folder at a URL that can be written to; raise `CkptError` for any other."""
    parsed = parse(url)
    if parsed.scheme not in ("s3", "gs", "az"):
        fix = "push it: ckpt push PATH URL" if parsed.scheme == "hf" else "write to s3://, gs:// or az://"
        raise CkptError("is read only", where=url, fix=fix, code="remote.read-only")
    if not parsed.key:
        raise CkptError(
            "is a whole bucket", where=url, fix="name a folder in it: s3://BUCKET/FOLDER", code="remote.url"
        )
    if parse_writer_name(posixpath.basename(parsed.key.rstrip("/"))):
        raise WriteError(WRITERS_OWN, where=url, fix="choose another one", code="write.name")
    return BucketFolder(parsed)


@contextlib.contextmanager
def staged_near(url: str) -> Iterator[str]:
    """Give the path at which a checkpoint for a URL is to be written first; it is removed afterwards.

    So what goes to a bucket has been verified as every save is, and what is in the way is found before all the work.
    """
    folder = far_folder(url)
    if is_manifest(folder.list().get(MANIFEST)):
        raise TargetExists(
            "holds a checkpoint, and one in a store is never replaced", where=url, fix="choose another URL"
        )
    with tempfile.TemporaryDirectory(prefix="ckptfmt-") as place:
        near = os.path.join(place, "checkpoint")
        try:
            yield near
        except CkptError as e:
            raise e.but(where=e.where.replace(near, url.rstrip("/"))) if near in e.where else e from None


def publish_near(
    path: str, url: str, *, take_over: bool = False, progress: Progress = lambda _: None
) -> tuple[str, ...]:
    """Commit the checkpoint folder at `path`, which was verified, at a URL; return and raise as `publish_open`."""
    folder = open_near(path)
    try:
        return publish_open(folder, path, url, take_over=take_over, progress=progress)
    finally:
        release(folder)


def publish_open(
    folder: int, path: str, url: str, *, take_over: bool = False, progress: Progress = lambda _: None
) -> tuple[str, ...]:
    """Commit the checkpoint in a folder that is open, which was verified, at a URL; return the names of what was sent.

    Its files go as they lie there, with their companions, the manifest last. A file that changes meanwhile is an
    error, and nothing is committed. Raises as `publish`.
    """
    target = far_folder(url)
    with contextlib.ExitStack() as stack:
        try:
            data = read_manifest(folder, where=path)
            manifest = parse_manifest(data, where=os.path.join(path, MANIFEST))
            files = {}
            # All are held open: a file that is put under one of these names from now on is not the one that is sent.
            for name, entry in near_files(folder, manifest):
                file, size = open_file(folder, name, where=path)
                stack.callback(release, file)
                files[name] = sent_file(file, size, entry, os.path.join(path, name))
        except (NotACheckpoint, MissingFile, FileNotFoundError):
            # It was all there when it was verified.
            raise _changed(path) from None
        publish(target, files, data, take_over=take_over, progress=progress)
    return (*files, MANIFEST)


def sent_file(file: int, size: int, entry: FileEntry | None, where: str) -> Sent:
    """Return an open file as it is sent; of a plain one of the manifest the SHA-256 of what was sent is compared."""
    before = _state(file)
    seen: list[str] = []

    def parts() -> Iterator[bytes]:
        hasher = hashlib.sha256()
        for part in file_parts(file, size):
            hasher.update(part)
            yield part
        seen.append(hasher.hexdigest())

    def check() -> None:
        # A file may be written to in place while it is read. The state shows that of those without a SHA-256, too.
        if not seen or _state(file) != before or (entry is not None and seen[-1] != entry.sha256):
            raise _changed(where)

    return Sent(size, parts, check)


def update_far(url: str, change: Callable[[Manifest], Manifest], *, expected: Manifest | None = None) -> Manifest:
    """Replace the manifest of the checkpoint at a URL by `change` of it, if it is still the one that was read."""
    folder = far_folder(url)
    require_conditions(folder)
    current, there = _committed(folder)
    if expected is not None and current.manifest_digest != expected.manifest_digest:
        raise changed_since(url)
    changed = change(current)
    # Nothing but the manifest is sent here, so it may promise no other files.
    if changed.files != current.files:
        raise WriteError("a change of the manifest must leave its files as they are", where=url, code="write.file-name")
    data, manifest = accepted(changed, where=url)
    try:
        # Files are told to belong to a manifest by the first half of its word, so that half stays.
        word = changed_word(there.writer, secrets.token_hex(8))
        folder.store.put(folder.key(MANIFEST), data, word, over=there)
    except Taken:
        raise Locked(
            "was changed by another writer meanwhile", where=url, fix="run it again", code="write.lost"
        ) from None
    return manifest


def remove_far(url: str, *, digest: str = "") -> None:
    """Remove the checkpoint at a URL: from one instant to the next it is none any more, then its files go.

    With a `digest` it is removed only while that is its manifest's.
    """
    folder = far_folder(url)
    require_conditions(folder)
    manifest, there = _committed(folder)
    if digest and manifest.manifest_digest != digest:
        raise WriteError("was changed since it was saved", where=url, code="write.changed")
    own = {*manifest.files, *map(compressed_name, manifest.files), HUB_WEIGHTS}
    names = [name for name in folder.list() if name != MANIFEST]
    # All of the folder goes, so whatever is not of a checkpoint would be lost.
    if foreign := [name for name in names if name not in own and not is_companion(name)]:
        raise in_the_way(url, foreign[0])
    try:
        # Over the very manifest that was read: what another writer put there meanwhile stays.
        folder.store.put(folder.key(MANIFEST), REMOVED, secrets.token_hex(8), over=there)
    except Taken:
        raise WriteError("was changed since it was saved", where=url, code="write.changed") from None
    folder.store.remove([folder.key(name) for name in names] + [folder.key(MANIFEST)])


def _committed(folder: BucketFolder) -> tuple[Manifest, Found]:
    """Return the manifest of the checkpoint in a folder, and which object that is."""
    far_manifest(folder, MANIFEST, MAX_MANIFEST)
    data, there = folder.store.read_all(folder.key(MANIFEST), MAX_MANIFEST)
    return parse_manifest(data, where=join(folder.where, MANIFEST)), there


def _changed(where: str) -> WriteError:
    return WriteError("was changed while it was sent", where=where, fix="run it again", code="remote.changed")


def _state(file: int) -> tuple[int, int, int]:
    state = os.fstat(file)
    return state.st_ino, state.st_size, state.st_mtime_ns
