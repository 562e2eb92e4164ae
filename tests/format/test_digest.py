import hashlib

import pytest
import rfc8785
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.errors import ManifestError
from ckptfmt.format import digest as digest_module
from ckptfmt.format.digest import Hasher, canonical_json, content_digest, json_digest, manifest_digest, tensor_digest


def test_canonical_json_is_that_of_rfc_8785():
    # The example of the RFC's section 3.2.3 for the order of keys, and its number forms.
    assert (
        canonical_json({"\u20ac": 1, "\r": 2, "1": 1e30, "a": 4.50}) == b'{"\\r":2,"1":1e+30,"a":4.5,"\xe2\x82\xac":1}'
    )


def test_what_has_no_canonical_form_is_an_error():
    with pytest.raises(ManifestError, match=r"^manifest\.json: has no canonical form: "):
        canonical_json({"a": float("nan")})


def test_a_tensor_digest_is_a_blake3_that_says_so():
    assert tensor_digest([b"a", b"bc"]) == f"blake3:{blake3(b'abc').hexdigest()}"


def test_the_algorithm_is_that_which_the_digest_names(monkeypatch):
    monkeypatch.setitem(digest_module._ALGORITHMS, "sha512", hashlib.sha512)
    for digest in (tensor_digest([b"abc"]), f"sha512:{hashlib.sha512(b'abc').hexdigest()}"):
        same, other = Hasher(digest), Hasher(digest)
        for part in (b"a", b"bc"):
            same.update(part)
        other.update(b"abd")
        assert (same.matches(), other.matches()) == (True, False)


def test_an_algorithm_that_is_not_written_counts_with_its_name():
    bare = content_digest([("a", "F32", (1,), "00")])
    assert content_digest([("a", "F32", (1,), "blake3:00")]) == bare
    assert content_digest([("a", "F32", (1,), "other:00")]) != bare


def test_content_digest_is_over_the_sorted_list_of_tensors():
    rows = [("b", "F32", (2, 3), "22"), ("a", "I64", (), "11")]
    text = b'[["a","I64",[],"11"],["b","F32",[2,3],"22"]]'
    assert content_digest(rows) == "sha256:" + hashlib.sha256(text).hexdigest()
    assert content_digest(reversed(rows)) == content_digest(rows)


def test_manifest_digest_leaves_itself_out():
    manifest = {"a": 1}
    assert manifest_digest({**manifest, "manifest_digest": "x"}) == json_digest(manifest)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON)
def test_the_quick_way_to_a_canonical_form_writes_what_the_general_one_writes(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "number", [1e-4, 9.9e-5, 1e-7, 0.1, -0.0, 1e16, 1e15 + 0.5, 2.0**53, -(2.0**53), 1e21, 123456.75]
)
def test_numbers_at_the_borders_of_the_quick_way_are_written_as_the_rfc_says(number):
    assert canonical_json([number]) == rfc8785.dumps([number])


FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.builds(
    lambda digits, places: float(f"{digits}e{places}"), st.integers(-(10**6), 10**17), st.integers(-30, 22)
)


@given(st.lists(FLOATS))
def test_numbers_of_any_size_are_written_as_the_rfc_says_in_lists_and_alone(numbers):
    assert canonical_json(numbers) == rfc8785.dumps(numbers)
    assert canonical_json([*numbers, "x"]) == rfc8785.dumps([*numbers, "x"])


@given(st.dictionaries(st.text(st.sampled_from('a\x7f\u00e9\ud7ff\ue000\uffff\U0001f600\U0010ffff"\\\n')), FLOATS))
def test_keys_are_sorted_by_utf_16_whatever_is_in_them(keys):
    assert canonical_json(keys) == rfc8785.dumps(keys)
