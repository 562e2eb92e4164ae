"""Copy a checkpoint from this machine into a bucket or to the hub, whole or not at all."""

import os
from collections.abc import Callable, Iterator
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.format.far import in_a_store
from ckptfmt.format.files import MANIFEST, MAX_MANIFEST, is_companion, read_manifest
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.record import record
from ckptfmt.look.lineage import find_checkpoints
from ckptfmt.remote.address import parse
from ckptfmt.remote.failure import Absent
from ckptfmt.remote.url import as_path, is_url, join
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.remote.names import far_files, near_files

__all__ = ["Pushed", "push", "push_all"]

Progress = Callable[[int], None]


@record
class Pushed:
    """What lies at a URL now; `status` is pushed, unchanged where it lay there already, or planned.

    `files` maps their names to their bytes; `commit` is that of a hub.
    """

    path: str
    url: str
    status: str
    files: dict[str, int]
    content_digest: str
    manifest_digest: str
    commit: str = ""

    @property
    def bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the result with the keys of `report.schema.json`."""
        return {
            "path": self.path,
            "url": self.url,
            "status": self.status,
            "files": dict(self.files),
            "bytes": self.bytes,
            "content_digest": self.content_digest,
            "manifest_digest": self.manifest_digest,
            "commit": self.commit,
        }


def push(
    path: str | os.PathLike[str],
    url: str,
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    message: str = "",
    private: bool = False,
    progress: Progress = lambda _: None,
) -> Pushed:
    """Copy the checkpoint at `path` to `url`, of a bucket or `hf://OWNER/NAME`; every byte is verified before it goes.

    A checkpoint in a bucket is never replaced; `overwrite` takes over what an upload left that did not finish. On the
    hub it becomes a commit with `message`, which replaces a checkpoint that is there only with `overwrite`; a new
    repository is `private` if that is asked for. One that is there already is left, and that is no error; where its
    files are not all there, of the size they must have, that is said of a bucket and mended on the hub. Raises what
    `ckptfmt.open` raises for `path`, `TargetExists`, and `CkptError` for all that a store refuses.
    """
    where, parsed = as_path(path), parse(url)
    with Checkpoint(where) as checkpoint:
        manifest, folder = checkpoint.manifest, checkpoint.folder
        if not isinstance(folder, int):
            raise in_a_store(where)
        mine, files = _read(folder, where, manifest)
        told = files, manifest.content_digest, manifest.manifest_digest
        if parsed.scheme == "hf":
            # The import that waits, here and below: each kind of store has a client of its own.
            from ckptfmt.share.hub import upload

            more = (message, private, overwrite, dry_run, progress)
            status, commit = upload(checkpoint, mine, parsed, tuple(files), *more)
            return Pushed(where, url, status, *told, commit)
        if (there := _already_there(mine, manifest, files, url)) is not None:
            return Pushed(where, url, "unchanged", there, *told[1:])
        if dry_run:
            return Pushed(where, url, "planned", *told)
        # A damaged checkpoint in a bucket could not be replaced by a whole one.
        checkpoint.verify()
        from ckptfmt.store.remote.write import publish_open

        # The folder that was verified, whatever lies at its path by now.
        publish_open(folder, where, url, take_over=overwrite, progress=progress)
    return Pushed(where, url, "pushed", *told)


def push_all(run: str | os.PathLike[str], url: str, **options: Any) -> Iterator[Pushed | CkptError]:
    """Push every checkpoint of a run, each to the URL of its name in it; yield what became of each."""
    folder = as_path(run)
    if is_url(folder):
        raise CkptError("is a URL, and what is pushed lies on this machine", where=folder, code="remote.url")
    for path in find_checkpoints(folder):
        try:
            yield push(path, join(url, os.path.relpath(path, folder)), **options)
        except CkptError as e:
            yield e


def _read(folder: int, path: str, manifest: Manifest) -> tuple[bytes, dict[str, int]]:
    """Return the bytes of the manifest, and the bytes of each file that is sent by its name, the manifest last."""
    names = [*(name for name, _ in near_files(folder, manifest)), MANIFEST]
    return read_manifest(folder, where=path), {name: os.stat(name, dir_fd=folder).st_size for name in names}


def _already_there(mine: bytes, manifest: Manifest, files: dict[str, int], url: str) -> dict[str, int] | None:
    """Return the bytes of the files at a URL where this very manifest lies, None where it does not.

    Raises `WeightsError` where what is with it is not the checkpoint's.
    """
    from ckptfmt.store.remote.write import far_folder

    folder = far_folder(url)
    try:
        if folder.fetch_all(MANIFEST, MAX_MANIFEST) != mine:
            return None
    except Absent:
        return None
    there = folder.names()
    beside = {name: size for name, size in files.items() if is_companion(name) and there.get(name) == size}
    return {**far_files(folder, manifest.files), **beside, MANIFEST: len(mine)}
