import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.errors import ManifestError
from ckptfmt.format.freeform import decode_free, encode_free
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
