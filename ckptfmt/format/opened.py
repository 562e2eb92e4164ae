"""A data file of a checkpoint opened in the form in which it lies there: plain, compressed, or in a store."""

import os
from collections.abc import Sequence

from ckptfmt.errors import MissingFile
from ckptfmt.format.datafile import DataFile, TwoForms
from ckptfmt.format.files import OpenFolder, compressed_name, is_there, open_file

__all__ = ["open_data"]


def open_data(folder: OpenFolder, name: str, segments: Sequence[int], *, where: str) -> DataFile:
    """Open the file `name` of the folder in the form that lies there; `segments` are its header and its tensors.

    Raises `WeightsError` where it is missing, is no regular file, or lies there in both forms; in a store that shows
    when it is read.
    """
    if not isinstance(folder, int):
        # Imports that wait, here and below: of the three forms a reader mostly meets one.
        from ckptfmt.format.fardata import FarData

        return FarData(folder, name, segments, where)
    packed = compressed_name(name)
    try:
        descriptor, size = open_file(folder, name, where=where)
    except MissingFile:
        if not is_there(folder, packed):
            raise
    else:
        file = DataFile(descriptor, size, os.path.join(where, name))
        if is_there(folder, packed):
            file.close()
            what = "lies there twice, plain and compressed"
            raise TwoForms(what, where=file.where, fix="remove one of the two")
        return file
    from ckptfmt.format.compressed import CompressedFile

    descriptor, size = open_file(folder, packed, where=where)
    return CompressedFile(descriptor, size, segments, os.path.join(where, packed))
