"""What can still be read of a checkpoint's files that are damaged, in either form, with a manifest or without."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from ckptfmt.errors import WeightsError
from ckptfmt.format.datafile import DataFile, TwoForms
from ckptfmt.format.digest import tensor_digest
from ckptfmt.format.files import compressed_name, open_file
from ckptfmt.format.opened import open_data
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import tensor_bytes

__all__ = ["StoredTensor", "open_damaged", "open_unlisted"]

# As a writer's blocks: of what is damaged never more is held.
_BLOCK = 4 << 20


@record
class StoredTensor:
    """A tensor as it lies in an open file."""

    dtype: str
    shape: tuple[int, ...]
    file: DataFile
    begin: int

    def chunks(self) -> Iterator[bytes]:
        """Return the bytes in parts; raise `WeightsError` where they are not there."""
        cursor, left = self.file.cursor(self.begin), tensor_bytes(self.dtype, self.shape)
        while left:
            part = cursor.read(min(left, _BLOCK))
            left -= len(part)
            yield part

    def digest(self) -> str:
        """Return the digest of the bytes, as a manifest says it; "" where they cannot be read."""
        try:
            return tensor_digest(self.chunks())
        except WeightsError:
            return ""


def open_damaged(
    folder: int, name: str, segments: Sequence[int], where: str, stack: contextlib.ExitStack
) -> tuple[DataFile, bool]:
    """Return a file as far as it can be read, and whether what lies around its plain bytes is sound.

    Of a file that lies there in both forms the plain one is taken; one that is missing has no bytes.
    """
    file = DataFile(-1, 0, os.path.join(where, name))
    try:
        file = stack.enter_context(open_data(folder, name, segments, where=where))
        file.check_layout()
        file.check_stored()
    except TwoForms:
        return stack.enter_context(DataFile(*open_file(folder, name, where=where), file.where)), False
    except WeightsError:
        file.walk()
        return file, False
    return file, True


def open_unlisted(folder: int, name: str, where: str) -> DataFile | None:
    """Return a file of which no manifest tells anything, None where it is missing or cannot be opened."""
    with contextlib.suppress(WeightsError):
        return DataFile(*open_file(folder, name, where=where), os.path.join(where, name))
    packed = compressed_name(name)
    try:
        descriptor, stored = open_file(folder, packed, where=where)
    except WeightsError:
        return None
    # The one import that waits: only who reads a compressed file needs zstd.
    from ckptfmt.format.compressed import open_by_table

    return open_by_table(descriptor, stored, os.path.join(where, packed))
