"""One file beside a checkpoint's own, such as its signature, written whole or not at all."""

import os

from ckptfmt.errors import TargetExists
from ckptfmt.format.files import open_folder, release
from ckptfmt.store.write.commit import replace_file
from ckptfmt.store.write.expected import require_expected
from ckptfmt.store.write.failure import reported
from ckptfmt.store.write.held import hold_open, kind_of
from ckptfmt.store.write.place import hold_place

__all__ = ["write_companion"]


def write_companion(
    path: str | os.PathLike[str], name: str, data: bytes, *, beside: bytes, overwrite: bool = False, wait: float = 0.0
) -> None:
    """Write the file `name` into the checkpoint at `path` in one step; nothing else of it is touched.

    `beside` are the bytes of the manifest that it belongs to. Raises `TargetExists` where there is such a file and
    `overwrite` is not given, or where it is none, `WriteError` for another manifest, and as any writer.
    """
    where = os.fspath(path)
    release(open_folder(path))
    with (
        reported(where),
        hold_place(path, wait=wait) as place,
        place.checkpoint() as folder,
        hold_open(folder.file, name) as old,
    ):
        require_expected(folder, beside, where=where)
        if old is not None and not old.is_file:
            raise TargetExists(f"has a {name} that is {kind_of(old.state.st_mode)}", where=where, fix="move it away")
        if old is not None and not overwrite:
            raise TargetExists(f"has a {name} already", where=where, fix="add overwrite=True to replace it")
        replace_file(place, folder, name, data, old)
