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

__all__ = ["StoredTensor", "open_damaged", "open_forms"]

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
) -> tuple[list[DataFile], bool]:
    """Return a file in each form that lies there, and whether it is one and what lies around its plain bytes is sound.

    What is damaged can be read as far as it goes; a file that is missing has no bytes.
    """
    try:
        file = stack.enter_context(open_data(folder, name, segments, where=where))
    except TwoForms:
        from ckptfmt.format.compressed import CompressedFile

        plain = stack.enter_context(DataFile(*open_file(folder, name, where=where), os.path.join(where, name)))
        packed = compressed_name(name)
        descriptor, stored = open_file(folder, packed, where=where)
        other = stack.enter_context(CompressedFile(descriptor, stored, segments, os.path.join(where, packed)))
        _is_sound(other)
        return [plain, other], False
    except WeightsError:
        return [DataFile(-1, 0, os.path.join(where, name))], False
    return [file], _is_sound(file)


def _is_sound(file: DataFile) -> bool:
    """Return whether what lies around a file's plain bytes is sound; where it is not, find what can be read."""
    try:
        file.check_layout()
        file.check_stored()
    except WeightsError:
        file.walk()
        return False
    return True


def open_forms(folder: int, name: str, where: str, stack: contextlib.ExitStack) -> Iterator[DataFile]:
    """Open a file of which no manifest tells anything in each form that lies there and can be opened, plain first."""
    with contextlib.suppress(WeightsError):
        yield stack.enter_context(DataFile(*open_file(folder, name, where=where), os.path.join(where, name)))
    packed = compressed_name(name)
    try:
        descriptor, stored = open_file(folder, packed, where=where)
    except WeightsError:
        return
    # The one import that waits: only who reads a compressed file needs zstd.
    from ckptfmt.format.compressed import open_by_table

    yield stack.enter_context(open_by_table(descriptor, stored, os.path.join(where, packed)))
