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


def test_no_name_stands_for_two_dtypes():
    for names in (by_numpy(), by_torch(), by_storage()):
        assert len(set(names.values())) == len(names)


def test_floats_are_what_weights_can_be():
    assert {"F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"} == FLOATS
    assert bits_of("F6_E2M3") == 6
    assert bits_of("complex128") == 0
