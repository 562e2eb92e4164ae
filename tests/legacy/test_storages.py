"""Tensor descriptions: bounds before bytes, and the bytes exactly as NumPy would order them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage, StorageId, item_size, storage_id
from ckptfmt.legacy.pickle.inert import Opaque

DTYPES = {"U8": "u1", "I16": "<i2", "F32": "<f4", "F64": "<f8", "C64": "<c8"}


def storage(data: bytes, dtype: str | None = "F32", *, big_endian: bool = False) -> Storage:
    return Storage("0", dtype, MemoryBlock(data), big_endian)


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, count: int = 64) -> LegacyTensor:
    return LegacyTensor("F32", shape, strides, offset, storage(np.arange(count, dtype="<f4").tobytes()))


@st.composite
def views(draw: st.DrawFn) -> tuple[str, tuple[int, ...], tuple[int, ...], int, int]:
    shape = tuple(draw(st.lists(st.integers(0, 6), max_size=5)))
    strides = tuple(draw(st.lists(st.integers(0, 20), min_size=len(shape), max_size=len(shape))))
    offset = draw(st.integers(0, 5))
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n)
    return draw(st.sampled_from(sorted(DTYPES))), shape, strides, offset, last + 1 + draw(st.integers(0, 3))


@given(views(), st.booleans(), st.integers(1, 300))
@settings(deadline=None, max_examples=400)
def test_any_view_streams_as_numpy_orders_it(view: Any, big_endian: bool, chunk: int) -> None:
    dtype, shape, strides, offset, count = view
    kind = np.dtype(DTYPES[dtype])
    flat = np.random.default_rng(count).integers(0, 256, max(count, 1) * kind.itemsize, dtype=np.uint8).tobytes()
    array = np.frombuffer(flat, kind)
    want = np.lib.stride_tricks.as_strided(array[offset:], shape, [s * kind.itemsize for s in strides]).tobytes()
    stored = array.byteswap().tobytes() if big_endian else flat
    made = LegacyTensor(dtype, shape, strides, offset, storage(stored, dtype, big_endian=big_endian))
    parts = list(made.chunks(chunk))
    assert b"".join(parts) == made.read() == want
    assert made.nbytes == len(want)
    assert all(0 < len(part) <= max(chunk, kind.itemsize) for part in parts)


class Striped:
    """A block of any size whose every 8 bytes are their own number; it notes how much is asked of it at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.most = 0

    def read(self, offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= self.size
        self.most = max(self.most, size)
        first, last = offset // 8, (offset + size + 7) // 8
        return np.arange(first, last, dtype="<u8").tobytes()[offset - first * 8 : offset - first * 8 + size]


def test_a_transposed_matrix_larger_than_memory_is_read_in_bounded_steps() -> None:
    block = Striped(8 * 200_000 * 100_000)
    made = LegacyTensor("U64", (100_000, 200_000), (1, 100_000), 0, Storage("0", "U64", block))
    first = next(made.chunks(1 << 20))
    rows = np.frombuffer(first, "<u8")
    assert rows.size == 131_072
    assert (rows == np.arange(131_072, dtype=np.uint64) * 100_000).all()
    assert block.most <= 16 << 20


def test_wide_rows_of_a_transposed_matrix_are_gathered_from_several_reads() -> None:
    block = Striped(8 * 64 * 4_000_000)
    made = LegacyTensor("U64", (4_000_000, 64), (1, 4_000_000), 0, Storage("0", "U64", block))
    first = np.frombuffer(next(made.chunks(1 << 20)), "<u8").reshape(-1, 64)
    assert (first == np.arange(len(first), dtype=np.uint64)[:, None] + np.arange(64, dtype=np.uint64) * 4_000_000).all()
    assert block.most <= 16 << 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (4, 17)}, "a tensor reaches to byte 260 of a storage of 256 bytes"),
        ({"offset": 1}, "a tensor reaches to byte 260 of a storage of 256 bytes"),
        ({"strides": (17, 1)}, "a tensor reaches to byte 268 of a storage of 256 bytes"),
        ({"offset": -1}, "a tensor has a length, stride or offset that is no whole number from 0 up"),
        ({"strides": (-16, 1)}, "a tensor has a length, stride or offset that is no whole number from 0 up"),
        ({"shape": (True, 4)}, "a tensor has a length, stride or offset that is no whole number from 0 up"),
        ({"shape": (4.0, 4)}, "a tensor has a length, stride or offset that is no whole number from 0 up"),
        ({"shape": (2**64, 0)}, "a tensor has a length, stride or offset that is no whole number from 0 up"),
        ({"shape": (1 << 40, 0)}, "a tensor has no elements, but a length or stride that no tensor has"),
        ({"strides": (1,)}, "a tensor has 2 dimensions and 1 strides"),
        ({"shape": (1,) * 65, "strides": (1,) * 65}, "a tensor has 65 dimensions and 65 strides"),
        ({"shape": (1 << 30,), "strides": (0,)}, "a tensor expands 256 bytes to 4,294,967,296"),
        ({"dtype": "F64"}, "a tensor is F64, its storage is F32"),
        ({"dtype": "complex128"}, "a tensor has dtype complex128, which safetensors has not"),
        ({"dtype": "F4"}, "a tensor has dtype F4, which is not read here"),
    ],
)
def test_a_wrong_description_is_refused_before_a_byte_is_read(change: dict[str, Any], said: str) -> None:
    right: dict[str, Any] = {"dtype": "F32", "shape": (4, 16), "strides": (16, 1), "offset": 0}
    stored = storage(bytes(256))
    LegacyTensor(**right, storage=stored)
    with pytest.raises(SourceError) as refusal:
        LegacyTensor(**(right | change), storage=stored)
    assert str(refusal.value) == said


def test_an_empty_tensor_needs_no_storage() -> None:
    made = LegacyTensor("F32", (3, 0), (0, 1), 0, Storage("0", "F32", None))
    assert (made.read(), made.numbers(), made.nbytes) == (b"", [], 0)


@pytest.mark.parametrize(
    ("dtype", "data", "values"),
    [
        ("BOOL", b"\x01\x00", [1, 0]),
        ("U8", b"\xff", [255]),
        ("I8", b"\xff", [-1]),
        ("I64", (-5).to_bytes(8, "little", signed=True), [-5]),
        ("U16", b"\x01\x02", [513]),
        ("F16", b"\x00\x3e", [1.5]),
        ("BF16", b"\xc0\x3f", [1.5]),
        ("F64", np.float64(0.1).tobytes(), [0.1]),
        ("F8_E5M2", b"\x3e\x01", [1.5, 2.0**-16]),
        ("F8_E4M3", b"\x3c\x01\x08\xfe", [1.5, 2.0**-9, 2.0**-6, -448.0]),
    ],
)
def test_numbers_of_each_dtype(dtype: str, data: bytes, values: list[float]) -> None:
    count = len(data) // item_size(dtype)
    assert LegacyTensor(dtype, (count,), (1,), 0, storage(data, dtype)).numbers() == values


def test_float8_without_a_number_is_nan() -> None:
    assert math.isnan(LegacyTensor("F8_E4M3", (1,), (1,), 0, storage(b"\x7f", "F8_E4M3")).numbers()[0])


def test_numbers_and_bytes_of_a_large_tensor_are_not_given() -> None:
    made = tensor((64,), (1,))
    with pytest.raises(SourceError) as numbers:
        made.numbers(limit=63)
    assert str(numbers.value) == "a tensor has 64 elements, more than the 63 asked for"
    with pytest.raises(SourceError) as data:
        made.read(limit=255)
    assert str(data.value) == "a tensor takes 256 bytes, more than the 255 asked for"


def test_complex_numbers_have_no_value_here() -> None:
    with pytest.raises(SourceError) as refusal:
        LegacyTensor("C64", (1,), (1,), 0, storage(bytes(8), "C64")).numbers()
    assert str(refusal.value) == "a tensor is C64, whose values are not read here"


def test_rows_are_a_view_of_the_first_dimension() -> None:
    made = tensor((4, 2), (1, 8), 3)
    assert made.rows(1, 3).numbers() == [4, 12, 5, 13]
    assert made.rows(4, 4).read() == b""
    with pytest.raises(SourceError) as refusal:
        made.rows(3, 5)
    assert str(refusal.value) == "a tensor of shape (4, 2) has no rows 3 to 5"


def test_squeeze_keeps_the_elements() -> None:
    made = tensor((1, 3, 1, 2), (99, 2, 7, 1))
    assert (made.squeeze().shape, made.squeeze().numbers()) == ((3, 2), made.numbers())


def test_identity_tells_the_same_elements_of_the_same_storage() -> None:
    shared = storage(bytes(256))
    one = LegacyTensor("F32", (1, 8), (8, 1), 4, shared)
    assert one.identity == LegacyTensor("F32", (1, 8), (99, 1), 4, shared).identity
    assert one.identity != LegacyTensor("F32", (1, 8), (8, 1), 5, shared).identity
    assert one.identity != LegacyTensor("F32", (8, 1), (1, 1), 4, shared).identity
    assert one.identity != LegacyTensor("F32", (1, 8), (8, 1), 4, storage(bytes(256))).identity


FLOATS = Opaque("global", "torch.FloatStorage")


def test_a_storage_id_says_what_torch_wrote() -> None:
    assert storage_id(("storage", FLOATS, "7", "cuda:0", 12)) == StorageId("7", "F32", "cuda:0", 12)
    viewed = storage_id(("storage", FLOATS, "7", "cpu", 12, ("8", 4, 2)))
    assert (viewed.view, viewed.nbytes) == (("8", 4, 2), 48)
    assert storage_id(("storage", FLOATS, "7", "cpu", 12, None)).view is None
    assert storage_id(("storage", Opaque("global", "torch.storage.UntypedStorage"), "0", "cpu", 12)).nbytes == 12


@pytest.mark.parametrize(
    "pid",
    [
        "0",
        ("module", FLOATS, "model.py", "import os"),
        ("storage", "torch.FloatStorage", "0", "cpu", 4),
        ("storage", Opaque("instance", "torch.FloatStorage"), "0", "cpu", 4),
        ("storage", Opaque("global", "os.system"), "0", "cpu", 4),
        ("storage", FLOATS, 0, "cpu", 4),
        ("storage", FLOATS, "0", "cpu", -1),
        ("storage", FLOATS, "0", "cpu", True),
        ("storage", FLOATS, "0", "cpu", 1 << 63),
        ("storage", FLOATS, "0", "cpu", 4, None, None),
    ],
)
def test_any_other_persistent_id_is_refused(pid: Any) -> None:
    with pytest.raises(SourceError) as refusal:
        storage_id(pid)
    assert str(refusal.value) == "its pickle refers to a storage in a way that torch does not"


def test_a_view_of_a_storage_that_is_none_is_refused() -> None:
    with pytest.raises(SourceError) as refusal:
        storage_id(("storage", FLOATS, "0", "cpu", 4, ("1", -1, 2)))
    assert str(refusal.value) == "its pickle refers to a part of a storage in a way that torch does not"
