import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckptfmt.errors import WeightsError
from ckptfmt.format.tensors import Part, decode, payloads

dtypes = st.sampled_from(
    ["?", "u1", "i1", "<i2", ">i2", "<u2", "<f2", ">f2", "<i4", "<f4", ">f4", "<f8", ">f8", "<c8", "<i8", ">u8"]
)


def raw(payload) -> bytes:
    return b"".join(bytes(part) for part in payload.chunks(7))


@given(hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_arrays_of_every_type_come_back_bit_for_bit(array):
    stored, tied = payloads({"x": array})
    back = decode(raw(stored["x"]), stored["x"].dtype, stored["x"].shape)
    assert not tied
    assert back.shape == array.shape
    assert back.tobytes() == np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()


def test_strided_arrays_are_stored_row_major():
    base = np.arange(24, dtype="f4").reshape(4, 6)
    stored, _ = payloads({"t": base.T, "s": base[::2, 1:4]})
    assert decode(raw(stored["t"]), "F32", (6, 4)).tolist() == base.T.tolist()
    assert decode(raw(stored["s"]), "F32", (2, 3)).tolist() == base[::2, 1:4].tolist()


def test_two_names_for_one_memory_are_stored_once():
    array = np.ones(3, "f4")
    stored, tied = payloads({"a": array, "b": array, "c": array.copy(), "d": array[:2]})
    assert sorted(stored) == ["a", "c", "d"]
    assert tied == {"b": "a"}


class Made(Mapping):
    """Tensors that are made anew each time one is asked for, so that their memory goes from one to the next."""

    def __init__(self, make):
        self._make = make

    def __getitem__(self, name):
        return self._make(int(name))

    def __iter__(self):
        return iter("0123")

    def __len__(self):
        return 4


@pytest.mark.parametrize(
    "make",
    [
        lambda i: np.full((30, 40), i, "f4").T,
        lambda i: np.full(30, i, ">f4"),
        lambda i: np.broadcast_to(np.array([i], "f4"), (30, 40)),
        lambda i: Part(np.full((30, 40), i, "f4").T, (40, 60), (0, 0)),
    ],
)
def test_arrays_that_follow_each_other_in_one_memory_stay_what_they_were(make):
    stored, tied = payloads(Made(make))
    assert not tied
    assert [decode(raw(stored[name]), "F32", (1, -1)).max() for name in "0123"] == [0, 1, 2, 3]


def test_masked_elements_are_refused_and_a_mask_of_nothing_is_not():
    with pytest.raises(WeightsError) as caught:
        payloads({"x": np.ma.masked_array([1.0, 2.0], mask=[False, True])})
    assert str(caught.value) == (
        "x has masked elements, and a stored tensor has no mask; fill them first, or save the mask as a tensor "
        "of its own"
    )
    stored, _ = payloads({"x": np.ma.masked_array([1.0, 2.0])})
    assert decode(raw(stored["x"]), "F64", (2,)).tolist() == [1, 2]


def test_what_no_tensor_can_hold_is_named():
    for value, sentence in [
        ("text", "x is a str, not an array; give NumPy arrays or torch tensors"),
        (
            np.array(["text"]),
            "x is str128, which safetensors cannot hold; convert it to a dense tensor of a plain dtype first",
        ),
        (
            np.zeros(1, "c16"),
            "x is complex128, which safetensors cannot hold; convert it to a dense tensor of a plain dtype first",
        ),
    ]:
        with pytest.raises(WeightsError) as caught:
            payloads({"x": value})
        assert str(caught.value) == sentence


def test_bfloat16_comes_as_float32():
    assert decode(bytes.fromhex("803f c0bf 807f".replace(" ", "")), "BF16", (3,)).tolist() == [1.0, -1.5, math.inf]


# Values from the tables of the OCP 8-bit floating point specification.
@pytest.mark.parametrize(
    ("dtype", "pattern", "value"),
    [
        ("F8_E4M3", 0x7E, 448.0),
        ("F8_E4M3", 0x01, 2**-9),
        ("F8_E4M3", 0x08, 2**-6),
        ("F8_E5M2", 0x7B, 57344.0),
        ("F8_E5M2", 0x7C, math.inf),
        ("F8_E5M2", 0x01, 2**-16),
        ("F8_E4M3FNUZ", 0x7F, 240.0),
        ("F8_E5M2FNUZ", 0x7F, 57344.0),
        ("F8_E8M0", 127, 1.0),
        ("F8_E8M0", 0, 2**-127),
    ],
)
def test_eight_bit_floats_have_the_values_of_their_specification(dtype, pattern, value):
    assert decode(bytes([pattern]), dtype, (1,)).tolist() == [value]


@pytest.mark.parametrize(
    ("dtype", "pattern"), [("F8_E4M3", 0x7F), ("F8_E5M2", 0x7D), ("F8_E4M3FNUZ", 0x80), ("F8_E8M0", 255)]
)
def test_eight_bit_floats_know_what_is_no_number(dtype, pattern):
    assert math.isnan(decode(bytes([pattern]), dtype, (1,))[0])


def test_torch_tensors_are_taken_as_they_lie():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    weight = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    stored, tied = payloads(
        {
            "p": torch.nn.Parameter(weight.t()),
            "bf": weight.to(torch.bfloat16),
            "s": torch.tensor(3),
            "w": weight,
            "tie": weight,
        }
    )
    assert decode(raw(stored["p"]), "F32", (3, 2)).tolist() == weight.t().tolist()
    assert (stored["bf"].dtype, stored["s"].shape) == ("BF16", ())
    assert decode(raw(stored["bf"]), "BF16", (2, 3)).tolist() == weight.tolist()
    assert tied == {"tie": "w"}


def test_every_float8_pattern_agrees_with_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pattern = torch.arange(256, dtype=torch.uint8)
    for kind, dtype in [
        ("float8_e4m3fn", "F8_E4M3"),
        ("float8_e5m2", "F8_E5M2"),
        ("float8_e4m3fnuz", "F8_E4M3FNUZ"),
        ("float8_e5m2fnuz", "F8_E5M2FNUZ"),
    ]:
        theirs = pattern.view(getattr(torch, kind)).float().numpy()
        np.testing.assert_array_equal(decode(bytes(range(256)), dtype, (256,)), theirs)


@pytest.mark.parametrize("make", ["sparse", "quantized", "meta"])
def test_torch_tensors_without_plain_values_are_refused(make):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = {
        "sparse": lambda: torch.eye(2).to_sparse(),
        "quantized": lambda: torch.zeros(2, dtype=torch.complex128),
        "meta": lambda: torch.zeros(2, device="meta"),
    }[make]()
    with pytest.raises(WeightsError, match=r"^x is "):
        payloads({"x": tensor})


VIEWS = ["same", "conj", "real", "imag", "imag of conj", "neg", "t", "first row", "one element", "bits", "expanded"]


@given(st.lists(st.sampled_from(VIEWS), min_size=2, max_size=4))
def test_whatever_views_of_one_memory_are_given_each_comes_back_as_itself(chosen):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    base = torch.complex(torch.arange(4.0), torch.arange(4.0) + 1).reshape(2, 2)
    views = {
        "same": base.detach(),
        "conj": base.conj(),
        "real": base.real,
        "imag": base.imag,
        "imag of conj": base.conj().imag,
        "neg": torch._neg_view(base.real),
        "t": base.t(),
        "first row": base[0],
        "one element": base.t()[1:, :1],
        "bits": base.real.view(torch.int32),
        "expanded": base[:1, :1].expand(2, 2),
    }
    given_ = {str(i): views[name] for i, name in enumerate(chosen)}
    stored, tied = payloads(given_)
    for name, tensor in given_.items():
        payload = stored[tied.get(name, name)]
        assert payload.shape == tuple(tensor.shape)
        assert raw(payload) == tensor.resolve_conj().resolve_neg().numpy().tobytes()
    assert len(stored) == len(set(chosen))


def test_a_tensor_that_only_wraps_others_is_stored_by_itself_or_refused():
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Twice(torch.Tensor):
        """Twice what is in it: values without a memory."""

        @staticmethod
        def __new__(cls, inner):
            made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
            made.inner = inner
            return made

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            return func(*[arg.inner * 2 if isinstance(arg, cls) else arg for arg in args], **(kwargs or {}))

    stored, tied = payloads({"a": Twice(torch.ones(2)), "b": Twice(torch.zeros(2))})
    assert not tied
    assert [decode(raw(stored[name]), "F32", (2,)).tolist() for name in "ab"] == [[2, 2], [0, 0]]

    class Hollow(Twice):
        """What has no values."""

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            raise NotImplementedError

    with pytest.raises(WeightsError) as caught:
        payloads({"x": Hollow(torch.ones(2))})
    assert str(caught.value) == (
        "x is Hollow, which safetensors cannot hold; convert it to a dense tensor of a plain dtype first"
    )


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_torch_tensors_without_a_shape_are_refused():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    for tensor, sentence in [
        (
            nested,
            "x is nested torch.float32, which safetensors cannot hold; convert it to a dense tensor of a plain dtype "
            "first",
        ),
        (
            torch.nn.UninitializedParameter(),
            "x has no shape and no values yet; let the network see an input first",
        ),
    ]:
        with pytest.raises(WeightsError) as caught:
            payloads({"x": tensor})
        assert str(caught.value) == sentence


def test_one_element_is_taken_whatever_its_stride():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for tensor in (torch.ones(1, 4)[:, 0], torch.ones(1, 4).as_strided((1, 1), (4, 3)), torch.ones(0, 4)[:, ::2]):
        stored, _ = payloads({"x": tensor})
        assert raw(stored["x"]) == tensor.numpy().tobytes()
