import enum
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.errors import ManifestError
from ckptfmt.format.freeform import decode_free, encode_free, encode_key
from ckptfmt.format.jsontext import parse, render

names = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: not name.startswith("$"))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
    max_leaves=20,
)


@given(plain)
def test_free_form_values_come_back_equal(value):
    encoded = encode_free(value, where="$")
    assert decode_free(parse(render(encoded).encode(), where="$", limit=1 << 20)) == value


def test_numbers_that_json_lacks_are_tagged():
    encoded = encode_free({"a": -math.inf, "b": math.nan, "c": 2**53 + 1, "d": 2**53 - 1}, where="$")
    assert encoded == {
        "a": {"$float": "-inf"},
        "b": {"$float": "nan"},
        "c": {"$int": "9007199254740993"},
        "d": 2**53 - 1,
    }
    back = decode_free(encoded)
    assert back["a"] == -math.inf
    assert math.isnan(back["b"])
    assert back["c"] == 2**53 + 1


def test_numpy_scalars_and_tuples_become_plain():
    value = {"n": np.int64(6), "r": np.float64(7.5), "f": np.float32(0.5), "b": np.bool_(True), "t": (1, 2), 3: "x"}
    encoded = encode_free(value, where="$")
    assert encoded == {"n": 6, "r": 7.5, "f": 0.5, "b": True, "t": [1, 2], "3": "x"}
    assert [type(item) for item in encoded.values()] == [int, float, float, bool, list, str]


class Choice(int, enum.Enum):
    A = 5


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.array(True), True),
        (np.array(3, ">i2"), 3),
        (np.array(0.5, ">f8"), 0.5),
        (np.float16(0.1), 0.0999755859375),
        (np.uint64(2**64 - 1), {"$int": "18446744073709551615"}),
        ({Choice.A: Choice.A}, {"5": 5}),
        ({np.float32(0.5): np.array(-0.0)}, {"0.5": -0.0}),
    ],
    ids=repr,
)
def test_a_scalar_is_the_number_it_equals(value, plain):
    encoded = encode_free(value, where="$")
    assert (encoded, repr(encoded)) == (plain, repr(plain))


def test_a_scalar_of_a_dtype_that_numpy_lacks_is_the_number_it_equals():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert encode_free(ml_dtypes.bfloat16(1.5), where="$") == 1.5


def test_a_scalar_of_torch_is_the_number_it_equals():
    torch = pytest.importorskip("torch")
    given = [True, 3, 0.5]
    assert repr(encode_free([torch.tensor(value) for value in given], where="$")) == repr(given)
    assert encode_free(torch.tensor(0.5, dtype=torch.bfloat16), where="$") == 0.5
    for other in (torch.tensor([1]), torch.tensor(1j)):
        with pytest.raises(ManifestError, match="a Tensor cannot be written as JSON"):
            encode_free(other, where="$")


@pytest.mark.parametrize(
    "value",
    [
        np.longdouble("1e4000"),
        np.longdouble(1),
        np.datetime64("2020-01-01", "ns"),
        np.datetime64("2020-01-01"),
        np.timedelta64(5, "ns"),
        np.complex64(1),
        np.array([1]),
        np.array(1, object),
        np.bytes_(b"1"),
    ],
    ids=repr,
)
def test_what_would_become_another_value_is_refused(value):
    kind = type(value).__name__
    with pytest.raises(ManifestError) as caught:
        encode_free({"a": value}, where="$")
    sentence = f"$.a: a {kind} cannot be written as JSON; give a number, text, list or mapping"
    assert str(caught.value) == sentence
    with pytest.raises(ManifestError) as caught:
        encode_key(value, where="$.a")
    assert str(caught.value) == f"$.a: a {kind} cannot be a key in JSON"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            {"a": {"b": [object()]}},
            "$.a.b[0]: a object cannot be written as JSON; give a number, text, list or mapping",
        ),
        ({"a": {1: 2, "1": 3}}, "$.a: two keys are both written '1'"),
        ({"a": {"$float": "1"}}, "$.a: the key $float is reserved"),
        ({"a": {(1, 2): 3}}, "$.a: a tuple cannot be a key in JSON"),
    ],
)
def test_what_json_cannot_hold_is_an_error_with_its_path(value, sentence):
    with pytest.raises(ManifestError) as caught:
        encode_free(value, where="$")
    assert str(caught.value) == sentence
