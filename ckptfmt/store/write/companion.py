"""One file beside a checkpoint's own, such as its signature, written whole or not at all."""

import os

from ckptfmt.errors import TargetExists
from ckptfmt.format.files import open_folder, release
from ckptfmt.format.siblings import stage_name
from ckptfmt.store.write.commit import write_file
from ckptfmt.store.write.failure import reported
from ckptfmt.store.write.place import discard, hold_place, sync_folder
from ckptfmt.store.write.publish import publish_file

__all__ = ["write_companion"]


def write_companion(
    path: str | os.PathLike[str], name: str, data: bytes, *, overwrite: bool = False, wait: float = 0.0
) -> None:
    """Write the file `name` into the checkpoint at `path` in one step; nothing else of it is touched.

    Raises `TargetExists` where there is such a file and `overwrite` is not given, `WriteError` as any writer.
    """
    where = os.fspath(path)
    release(open_folder(path))
    with reported(where), hold_place(path, wait=wait) as place:
        folder = open_folder(path)
        try:
            there = name in os.listdir(folder)
            if there and not overwrite:
                raise TargetExists(f"has a {name} already", where=where, fix="add overwrite=True to replace it")
            staged = stage_name(place.name)
            try:
                write_file(place.folder, staged, data, where=where)
                if there:
                    publish_file(place.folder, staged, folder, name)
                else:
                    os.rename(staged, name, src_dir_fd=place.folder, dst_dir_fd=folder)
                    sync_folder(folder)
            finally:
                discard(place.folder, staged)
        finally:
            release(folder)
