"""Write some files of a checkpoint anew, in another form, and keep the others: the content stays what it is."""

import contextlib
import os
from collections.abc import Iterator, Mapping

from ckptfmt.errors import NotACheckpoint, TargetExists, WriteError
from ckptfmt.format.files import MANIFEST, SIGNATURE, is_there, read_manifest
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.store.write.commit import stage, write_file
from ckptfmt.store.write.datafile import write_files
from ckptfmt.store.write.expected import changed_since
from ckptfmt.store.write.failure import reported, require_space
from ckptfmt.store.write.held import Held
from ckptfmt.store.write.place import Place, hold_place
from ckptfmt.store.write.publish import keep_file, publish_folder
from ckptfmt.store.write.tensorfile import TensorFile

__all__ = ["rewrite_files"]


def rewrite_files(
    path: str | os.PathLike[str], files: Mapping[str, TensorFile], *, expected: Manifest, wait: float = 0.0
) -> None:
    """Write `files` of the checkpoint at `path` again, in the form that each asks for, in one step for all.

    The other files get a second name in the new folder, the manifest stays as it is to the byte. Raises
    `WriteError` where it is not the one `expected`, or a file no longer holds what it says; every failure leaves
    what was there before.
    """
    where = os.fspath(path)
    with reported(where), hold_place(path, wait=wait) as place, _checkpoint(place) as folder:
        data = read_manifest(folder.file, where=where)
        manifest = parse_manifest(data, where=os.path.join(where, MANIFEST))
        if manifest.manifest_digest != expected.manifest_digest:
            raise changed_since(where)
        require_space(place.folder, sum(manifest.files[name].bytes for name in files), where=where)
        with stage(place, folder) as staged:
            for name, entry in write_files(staged.file, files, where=where).items():
                if entry != manifest.files[name]:
                    raise WriteError("changed while it was read", where=os.path.join(where, name), fix="try again")
            for name in manifest.files:
                if name not in files:
                    keep_file(folder.file, name, staged.file, where)
            if is_there(folder.file, SIGNATURE):
                keep_file(folder.file, SIGNATURE, staged.file, where)
            write_file(staged.file, MANIFEST, data, where=where)
            os.fsync(staged.file)
            publish_folder(place, staged, manifest, replacing=folder)


@contextlib.contextmanager
def _checkpoint(place: Place) -> Iterator[Held]:
    try:
        with place.occupant(overwrite=True) as folder:
            if folder is None:
                raise NotACheckpoint("no such folder", where=place.path, fix="check the path", code="layout.missing")
            yield folder
    except TargetExists as e:
        raise WriteError(e.what, where=e.where, fix="move it away", code="write.other-files") from None
