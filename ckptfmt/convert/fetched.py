"""Sources that lie in a store: fetched into a folder of this process alone for as long as they are read."""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from ckptfmt.errors import CkptError, SourceError, WriteError
from ckptfmt.format.files import MANIFEST
from ckptfmt.legacy.address import refuse_address
from ckptfmt.legacy.distributed.kinds import is_of_folder
from ckptfmt.legacy.sharded import INDEX, shards_of
from ckptfmt.remote.failure import Absent
from ckptfmt.remote.far import open_far
from ckptfmt.remote.folder import FarFolder
from ckptfmt.remote.url import is_url
from ckptfmt.store.write.failure import reported

__all__ = ["NothingFar", "fetched"]


class NothingFar(SourceError):
    """There is no file at a URL."""

    code = "source.missing"


@contextmanager
def fetched(source: str) -> Iterator[str]:
    """Give the path of a source of this machine, or of the copy of one at a URL, which ends with the block.

    Of an index the files that it lists come with it, of a folder of torch.distributed.checkpoint all. What else lies
    beside a file is not looked at. Raises `SourceError` where there is nothing at the URL, `WriteError` where there is
    no room for it: at most half of what is free is taken. Errors of the block name the URL.
    """
    if not is_url(source):
        yield source
        return
    if "://huggingface.co/" in source and "/resolve/" not in source:
        # A page, which would be fetched as text.
        refuse_address(source)
    folder, _, name = source.rstrip("/").rpartition("/")
    with tempfile.TemporaryDirectory(prefix="ckptfmt-source-") as near:
        try:
            path = os.path.join(near, name)
            _fetch(source, open_far(folder), path)
            yield path
        except CkptError as e:
            raise e.but(where=e.where.replace(near, folder), fix=e.fix.replace(near, folder)) from None


def _fetch(source: str, folder: FarFolder, path: str) -> None:
    near, name = os.path.split(path)
    try:
        _copy(folder, [name], near)
    except Absent:
        inside = open_far(source)
        names = inside.names() if inside.can_list else {}
        parts = [name for name in names if is_of_folder(name)]
        if not parts:
            raise _nothing(source, names) from None
        os.mkdir(path)
        _copy(inside, parts, path)
        return
    if name.endswith(INDEX):
        shards = list(shards_of(path))
        try:
            _copy(folder, shards, near)
        except Absent as e:
            what = "lists a file that is not there"
            raise SourceError(what, where=source, fix=f"put {e} beside it", code="source.missing") from None


def _copy(folder: FarFolder, names: Iterable[str], near: str) -> None:
    room = shutil.disk_usage(near).free // 2
    for name in names:
        path = os.path.join(near, name)
        with reported(path), open(path, "xb") as file:
            for part in folder.stream(name):
                room -= len(part)
                if room < 0:
                    raise WriteError(
                        "is too large for the temporary folder, of which half is left free",
                        where=path,
                        fix="name another one in TMPDIR",
                        code="write.no-space",
                    )
                file.write(part)


def _nothing(source: str, names: Collection[str]) -> NothingFar:
    if MANIFEST in names:
        what = "is a checkpoint already; there is nothing to convert"
        return NothingFar(what, where=source, code="source.not-a-file")
    if names:
        return NothingFar(
            "is a folder, and one file is converted",
            where=source,
            fix="give the URL of a file in it, or say where its checkpoints go with out_dir=",
            code="source.not-a-file",
        )
    return NothingFar("there is no such object", where=source, fix="check the URL")
