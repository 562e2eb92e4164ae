import io
import zipfile

import numpy as np
import pytest

from ckptfmt.errors import ConversionError
from ckptfmt.share.export.torchfile import StoredTensor, torch_bytes, write_torch_file


def stored(array: np.ndarray, dtype: str) -> StoredTensor:
    return StoredTensor(dtype, array.shape, array.tobytes)


def test_each_record_begins_where_a_file_can_be_mapped():
    data = torch_bytes({"a": stored(np.arange(5, dtype="<f4"), "F32"), "b": stored(np.ones((2, 3)), "F64")})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            name, extra = (int.from_bytes(data[info.header_offset + at :][:2], "little") for at in (26, 28))
            assert (info.header_offset + 30 + name + extra) % 64 == 0


def test_a_dtype_without_a_storage_is_refused_before_a_byte_is_written():
    file = io.BytesIO()
    with pytest.raises(ConversionError) as caught:
        write_torch_file(file, {"a": StoredTensor("F8_E4M3", (1,), lambda: b"\0")})
    assert str(caught.value) == "torch's files name no storage of F8_E4M3; convert the tensors to F32 first"
    assert file.getvalue() == b""
