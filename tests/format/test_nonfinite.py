import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.format.dtypes import DTYPES, bits_of
from ckptfmt.format.nonfinite import count_non_finite
from ckptfmt.format.numeric import has_numbers
from ckptfmt.format.tensors import decode

NUMBERS = [dtype for dtype in DTYPES if has_numbers(dtype)]


def counted(data: bytes, dtype: str) -> int:
    values = decode(data, dtype, (len(data) * 8 // bits_of(dtype),))
    return int(np.count_nonzero(~np.isfinite(values.view("<f4") if dtype == "C64" else values)))


@pytest.mark.parametrize("dtype", [dtype for dtype in NUMBERS if bits_of(dtype) <= 16 and dtype != "BOOL"])
def test_every_pattern_of_a_small_dtype_is_told_right(dtype):
    width = bits_of(dtype) // 8
    data = np.arange(256**width, dtype=f"<u{width}").tobytes()
    assert count_non_finite(data, dtype) == counted(data, dtype)


@pytest.mark.parametrize("dtype", ["F32", "F64", "C64"])
@given(st.data())
def test_bytes_of_a_wide_dtype_are_told_right(dtype, data):
    special = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, 1e-45, 1.0])
    code = {"F32": "<f4", "F64": "<f8", "C64": "<f4"}[dtype]
    stored = np.array(data.draw(st.lists(special | st.floats(width=32), max_size=8)) * 2, code).tobytes()
    assert count_non_finite(stored, dtype) == counted(stored, dtype)
    assert count_non_finite(bytearray(stored), dtype) == counted(stored, dtype)


def test_integers_are_always_finite():
    assert count_non_finite(b"\xff" * 64, "I32") == 0
