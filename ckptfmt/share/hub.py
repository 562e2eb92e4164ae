"""Commit a checkpoint to a repository of the Hugging Face hub, and hold what lies there against the manifest.

A commit of the hub is whole or absent by itself. It names the one before it, so of two writers the second one fails.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from ckptfmt.errors import Locked, TargetExists, WeightsError, WriteError, missing_package
from ckptfmt.format.files import HUB_WEIGHTS, MANIFEST, MAX_MANIFEST, WEIGHTS, open_file, release
from ckptfmt.format.shards import is_data_file
from ckptfmt.remote.address import Url
from ckptfmt.remote.failure import Absent, NotOnHub, StoreError
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.remote.names import far_files

try:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars
except ImportError as e:
    raise missing_package(e, "hf://") or e from None

from ckptfmt.remote.hub import HubFolder, told_by_hub

__all__ = ["upload"]

# Conflict, and a condition that did not hold.
_CONFLICT = (409, 412)


def upload(
    checkpoint: Checkpoint,
    mine: bytes,
    url: Url,
    names: Sequence[str],
    message: str,
    private: bool,
    overwrite: bool,
    dry_run: bool,
    progress: Callable[[int], None],
) -> tuple[str, str]:
    """Commit the files called `names` of a checkpoint on the disk, whose manifest is `mine`.

    Returns what became of it, and the commit.

    Raises as `ckptfmt.share.push.push`.
    """
    parent, there = _current(url)
    if there is not None:
        if there == mine and _is_whole(checkpoint, Url("hf", url.place, url.key, parent)):
            return "unchanged", parent
        # What the same manifest lies beside and is not its own can only be mended.
        if there != mine and not overwrite:
            raise TargetExists(
                "holds another checkpoint",
                where=str(url),
                fix="add overwrite=True to commit this one over it; the history keeps the old one",
            )
    if dry_run:
        return "planned", ""
    checkpoint.verify()
    # The client draws bars of its own wherever it runs, into the answer of whoever calls this.
    disable_progress_bars()
    with contextlib.ExitStack() as held:
        added = _added(checkpoint, mine, url, names, held)
        try:
            commit = _commit(url, added, parent, message, private, progress)
        except HfHubHTTPError as e:
            if e.response is not None and e.response.status_code in _CONFLICT:
                what, fix = "another writer was faster", "run it again"
                raise Locked(what, where=str(url), fix=fix, code="write.lost") from None
            raise told_by_hub(e, str(url)) from None
        except Exception as e:
            raise told_by_hub(e, str(url)) from None
    _check(checkpoint, Url("hf", url.place, url.key, commit))
    return "pushed", commit


def _is_whole(checkpoint: Checkpoint, url: Url) -> bool:
    """Return whether the files of a checkpoint lie there, as far as the hub's listing tells."""
    try:
        far_files(HubFolder(url), checkpoint.manifest.files)
    except WeightsError:
        return False
    return True


def _current(url: Url) -> tuple[str, bytes | None]:
    """Return the commit that is the newest, and the manifest in it; "" and None where there is no repository yet."""
    folder = HubFolder(url)
    try:
        commit = folder.commit
    except NotOnHub:
        return "", None
    try:
        return commit, folder.fetch_all(MANIFEST, MAX_MANIFEST)
    except Absent:
        return commit, None


def _added(
    checkpoint: Checkpoint, mine: bytes, url: Url, names: Sequence[str], held: contextlib.ExitStack
) -> list[Any]:
    """Return the operations that add the files; raise where one is not what the manifest lists any more.

    The files are held open, so what is sent is what was looked at, whoever gives their names to others meanwhile.
    """
    added = []
    for name in names:
        place = f"{url.key}/{name}" if url.key else name
        if name == MANIFEST:
            added.append(CommitOperationAdd(place, mine))
            continue
        file, _ = open_file(checkpoint.folder, name, where=checkpoint.path)
        held.callback(release, file)
        added.append(CommitOperationAdd(place, f"/proc/self/fd/{file}"))
        entry = checkpoint.manifest.files.get(WEIGHTS if name == HUB_WEIGHTS else name)
        if entry is not None and added[-1].upload_info.sha256.hex() != entry.sha256:
            where = f"{checkpoint.path}/{name}"
            raise WriteError("was changed while it was sent", where=where, fix="run it again", code="remote.changed")
    return added


def _commit(
    url: Url, added: Sequence[Any], parent: str, message: str, private: bool, progress: Callable[[int], None]
) -> str:
    """Commit the files, in place of those that an older checkpoint of the folder had."""
    api, branch = HfApi(), url.revision or None
    api.create_repo(url.place, private=private or None, exist_ok=True)
    if branch and not parent:
        api.create_branch(url.place, branch=branch, exist_ok=True)
    for operation in added:
        # Large files go one by one, before the commit, so that it can be said how far it is.
        api.preupload_lfs_files(url.place, [operation], revision=branch)
        progress(operation.upload_info.size)
    names = HubFolder(url).names() if parent else {}
    places = {operation.path_in_repo for operation in added}
    # What an older checkpoint had and this one has not would be taken for a part of it.
    gone = [f"{url.key}/{name}" if url.key else name for name in names if is_data_file(name) or name == HUB_WEIGHTS]
    operations = [*added, *(CommitOperationDelete(place) for place in gone if place not in places)]
    done = api.create_commit(
        url.place,
        operations,
        commit_message=message or "Add a checkpoint",
        revision=branch,
        parent_commit=parent or None,
    )
    return str(done.oid)


def _check(checkpoint: Checkpoint, url: Url) -> None:
    """Raise where the hub knows a file by another SHA-256 than the manifest lists; no byte is fetched for it."""
    folder = HubFolder(url)
    for name, entry in checkpoint.manifest.files.items():
        for stored in (name, HUB_WEIGHTS if name == WEIGHTS else name):
            known = folder.sha256(stored)
            if known and known != entry.sha256:
                raise StoreError(
                    "the hub keeps another file than was sent", where=f"{url}/{stored}", fix="push it again"
                )
