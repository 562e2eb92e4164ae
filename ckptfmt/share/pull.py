"""Copy a checkpoint from a bucket, a server or the hub to this machine, verified as it arrives."""

import os
from collections.abc import Callable
from typing import Any

from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.format.far import must_be_there
from ckptfmt.format.files import (
    HUB_WEIGHTS,
    MANIFEST,
    MAX_SIGNATURE,
    SIGNATURE,
    WEIGHTS,
    compressed_name,
    read_manifest,
)
from ckptfmt.format.manifest import FileEntry
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.record import record
from ckptfmt.look.validate.integrity import FileCheck
from ckptfmt.remote.far import open_far
from ckptfmt.remote.folder import FarFolder
from ckptfmt.remote.url import as_path, is_url, join
from ckptfmt.store.write.commit import stage, write_file
from ckptfmt.store.write.companion import write_companion
from ckptfmt.store.write.datafile import create, write_all
from ckptfmt.store.write.failure import reported, require_space
from ckptfmt.store.write.place import hold_place
from ckptfmt.store.write.publish import publish_folder

__all__ = ["Pulled", "pull"]

Progress = Callable[[int], None]
# The space that a folder, the names in it and the manifest take, beyond the other files.
_SPACE = 1 << 20


@record
class Pulled:
    """What was copied here; `files` maps the names to the bytes that they have here."""

    url: str
    path: str
    files: dict[str, int]
    content_digest: str
    manifest_digest: str

    @property
    def bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the result with the keys of `report.schema.json`."""
        return {
            "url": self.url,
            "path": self.path,
            "files": dict(self.files),
            "bytes": self.bytes,
            "content_digest": self.content_digest,
            "manifest_digest": self.manifest_digest,
        }


def pull(
    url: str,
    dest: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    wait: float = 0.0,
    progress: Progress = lambda _: None,
) -> Pulled:
    """Copy the checkpoint at `url` to the folder `dest`, its signature with it.

    Every file is held against the manifest as it arrives; only then the folder gets its name, as of a save. Raises
    what `ckptfmt.open` raises for `url`, `WeightsError` for a file that is damaged, and what `ckptfmt.save` raises.
    """
    if not is_url(url):
        raise CkptError("is no URL", where=url, fix="as in: s3://BUCKET/FOLDER", code="remote.url")
    where, far = as_path(dest), open_far(url)
    data = read_manifest(far, where=url)
    manifest = parse_manifest(data, where=join(url, MANIFEST))
    names = {name: _stored(far, name) for name in manifest.files}
    signature = _signature(far) if far.can_list else None
    with reported(where), hold_place(dest, wait=wait) as place, place.occupant(overwrite=overwrite) as before:
        require_space(place.folder, _SPACE + sum(size for _, size in names.values()), where=where)
        with stage(place, before) as staged:
            for name, entry in manifest.files.items():
                stored, size = names[name]
                kept = name if stored == HUB_WEIGHTS else stored
                _fetch(far, stored, size, staged.file, kept, entry, progress)
            write_file(staged.file, MANIFEST, data, where=where)
            os.fsync(staged.file)
            publish_folder(place, staged, manifest, replacing=before)
    if signature is not None:
        write_companion(where, SIGNATURE, signature, beside=data, overwrite=overwrite)
    files = {entry.name: entry.stat().st_size for entry in os.scandir(where)}
    return Pulled(url, where, files, manifest.content_digest, manifest.manifest_digest)


def _signature(far: FarFolder) -> bytes | None:
    """Return the signature beside a checkpoint, None where there is none; raise `CkptError` for what is too large."""
    size = far.size(SIGNATURE)
    if size is not None and size > MAX_SIGNATURE:
        what = f"is {size:,} bytes, too large for a signature"
        raise CkptError(what, where=join(far.where, SIGNATURE), code="signature.malformed")
    return far.fetch_all(SIGNATURE, MAX_SIGNATURE) if size is not None else None


def _stored(far: FarFolder, name: str) -> tuple[str, int]:
    """Return under which name a file of the manifest lies in the store, and its bytes; raise where it is missing."""
    forms = (name, compressed_name(name), *((HUB_WEIGHTS,) if name == WEIGHTS else ()))
    there = [(form, size) for form in forms if (size := far.size(form)) is not None]
    for form, size in there:
        if len(there) == 1 or not far.was_left(form):
            return form, size
    with must_be_there(join(far.where, name)):
        return name, far.open(name).size


def _fetch(
    far: FarFolder, stored: str, size: int, folder: int, kept: str, entry: FileEntry, progress: Progress
) -> None:
    """Write a file as it arrives, then hold what lies here against the manifest, as `validate` does.

    Raises `WeightsError` where it is not the file that the manifest lists.
    """
    place = join(far.where, stored)
    plain = not stored.endswith(compressed_name(""))
    if plain and size != entry.bytes:
        raise _damaged(f"has {size:,} bytes, the manifest says {entry.bytes:,}", place, "weights.size")
    count = 0
    file = create(folder, kept)
    try:
        with must_be_there(place):
            for part in far.stream(stored):
                count += len(part)
                if count > size:
                    break
                write_all(file, bytes(part))
                progress(len(part))
        os.fsync(file)
    finally:
        os.close(file)
    if count != size:
        raise _damaged(f"gave {count:,} bytes, the store says {size:,}", place, "weights.size")
    for problem in FileCheck(folder, kept.removesuffix(compressed_name("")), entry).problems():
        if problem.severity == "error":
            raise _damaged(problem.message, place, problem.code)


def _damaged(what: str, place: str, code: str) -> WeightsError:
    return WeightsError(what, where=place, fix="pull it again, or push it again from where it is whole", code=code)
