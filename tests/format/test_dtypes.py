"""The one table of dtypes agrees with the libraries whose names it holds."""

import struct

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from ckptfmt.format.dtypes import DTYPES, FLOATS, bits_of, by_numpy, by_storage, by_torch


@pytest.mark.parametrize("dtype", [d for d in DTYPES.values() if d.numpy], ids=lambda d: d.name)
def test_numpy_and_safetensors_call_it_the_same(dtype):
    array = np.zeros(2, dtype.numpy)
    assert array.dtype.itemsize * 8 == dtype.bits
    assert f'"dtype":"{dtype.name}"'.encode() in safetensors_numpy.save({"a": array})


@pytest.mark.parametrize("dtype", [d for d in DTYPES.values() if d.struct], ids=lambda d: d.name)
def test_the_codes_of_struct_and_numpy_mean_the_same(dtype):
    assert struct.calcsize(f"<{dtype.struct}") * 8 == dtype.bits
    data = bytes(range(64, 64 + dtype.bits // 8)) if dtype.name != "BOOL" else b"\1"
    assert struct.unpack(f"<{dtype.struct}", data)[0] == np.frombuffer(data, dtype.numpy)[0]


def test_a_float_is_made_of_its_bits():
    halves = np.arange(1 << 16, dtype="<u2")
    expected = halves.view("<f2").astype("f8")
    np.testing.assert_array_equal([DTYPES["F16"].float.number(int(bits)) for bits in halves], expected)
    for name, dtype, numpy in (("F32", "<u4", "<f4"), ("F64", "<u8", "<f8"), ("BF16", "<u4", "<f4")):
        words = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, 2000, dtype, endpoint=True)
        patterns = words >> 16 if name == "BF16" else words
        with np.errstate(invalid="ignore"):  # NaNs that signal
            shown = (patterns << 16 if name == "BF16" else patterns).view(numpy).astype("f8")
        np.testing.assert_array_equal([DTYPES[name].float.number(int(bits)) for bits in patterns], shown)


def test_no_name_stands_for_two_dtypes():
    for names in (by_numpy(), by_torch(), by_storage()):
        assert len(set(names.values())) == len(names)


def test_floats_are_what_weights_can_be():
    assert {"F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"} == FLOATS
    assert bits_of("F6_E2M3") == 6
    assert bits_of("complex128") == 0
