import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.errors import ManifestError
from ckptfmt.format.jsontext import MAX_DEPTH, excess, parse, read_rendered, render
from tests.counted import steps

LIMIT = 1 << 20


def read(data: bytes):
    return parse(data, where="m.json", limit=LIMIT)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'{"a": NaN}', "m.json: NaN is not JSON"),
        (b'{"a": -Infinity}', "m.json: -Infinity is not JSON"),
        (b'{"a": 1e400}', "m.json: 1e400 is too large for a number"),
        (b'{"a": 1, "a": 2}', "m.json: has the key 'a' twice"),
        (b'{"a": 1, "\\u0061": 2}', "m.json: has the key 'a' twice"),
        (b'{"a": "\\ud800"}', "m.json: holds half of a surrogate pair"),
        (b'\xef\xbb\xbf{"a": 1}', "m.json: starts with a byte order mark, which JSON does not allow"),
        (b'{"a": "\xff"}', "m.json: is not UTF-8 at byte 7"),
        (b"[" * 10_000 + b"]" * 10_000, f"m.json: nests deeper than {MAX_DEPTH} levels"),
        (b"1" * 5000, "m.json: an integer has 5,000 digits"),
        (b"{", "m.json: is not JSON at line 1, column 2: Expecting property name enclosed in double quotes"),
        (b" " * (LIMIT + 1), "m.json: is 1,048,577 bytes, more than the 1,048,576 allowed"),
    ],
)
def test_what_two_readers_could_see_differently_is_refused(data, sentence):
    with pytest.raises(ManifestError) as caught:
        read(data)
    assert str(caught.value) == sentence


def test_brackets_inside_strings_do_not_count_as_depth():
    assert read(json.dumps({"a": "[" * 1000 + '\\"{'}).encode()) == {"a": "[" * 1000 + '\\"{'}


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_the_one_error(data):
    try:
        value = read(data)
    except ManifestError as e:
        found = str(e).startswith("m.json: ")
    else:
        found = value == json.loads(data.decode())
    assert found


words = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner) | st.dictionaries(words, inner),
    max_leaves=20,
)


@given(plain)
def test_a_rendering_is_its_own_rendering(value):
    text = render(value)
    assert render(json.loads(text)) == text


def test_a_list_of_plain_values_takes_one_line():
    assert render({"shape": [4, 84, 84], "nested": [[1], []]}) == (
        '{\n  "shape": [4, 84, 84],\n  "nested": [\n    [1],\n    []\n  ]\n}\n'
    )


def nested(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 70 + b'"' + b'\\"' * (1 << 18),
        b"[" * 70 + b'"' + b"\\" * (1 << 19),
        b'"' * (1 << 18) + b"[" * 70,
        b"[" * 70 + b'{"' * (1 << 18),
        b"[" * (1 << 18),
        b"[]" * (1 << 18),
        b"[}" * (1 << 18),
        b"]" * (1 << 18) + b"[" * (1 << 18),
        nested(1 << 18),
        b"[" + b"1," * (1 << 18),
        b"9" * (1 << 19),
        b"[" + b"-" * (1 << 19),
        b"[" + b"1e" * (1 << 18),
        b"[" + b"1." * (1 << 18),
    ],
    ids=range(14),
)
def test_half_a_megabyte_of_anything_ends_at_once(data):
    # Where the work is not in proportion to the bytes, this takes a minute and more.
    for reader in (parse, read_rendered):
        with pytest.raises(ManifestError, match=r"^m\.json: (is not JSON|nests deeper|an integer has) "):
            reader(data, where="m.json", limit=1 << 24)


def test_half_a_megabyte_of_lists_is_read_at_once():
    data, value = b"[" + b"[[]]," * (1 << 17) + b"[[]]]", [[[]]] * ((1 << 17) + 1)
    assert parse(data, where="m.json", limit=1 << 24) == value
    assert read_rendered(data, where="m.json", limit=1 << 24) == (value, False)


@pytest.mark.parametrize(
    ("data", "deep"),
    [
        (nested(MAX_DEPTH), False),
        (nested(MAX_DEPTH + 1), True),
        (b"[" + nested(MAX_DEPTH - 1) * 3 + b"]", False),
        (b"[" + nested(2) * 100 + nested(MAX_DEPTH) + b"]", True),
        (b'["' + b"[" * 100 + b'"]', False),
        (b'["\\"' + b"[" * 100 + b'"]', False),
        (b'["\\\\",' + nested(100) + b"]", True),
        (b'["' + b"\\\\" * (1 << 20) + b'",' + nested(100) + b"]", True),
        (b'["' + b"\\" * ((1 << 21) + 1) + b'"' + b"[" * 100 + b'"]', False),
        # Gone over byte by byte, these take as many seconds as there are tens of megabytes.
        (b'["' + b"\\" * (1 << 25) + b'",' + nested(100) + b"]", True),
        (b'["' + b"x" * ((1 << 20) - 3) + b'\\"' + b"[" * 100 + b'"]', False),
    ],
    ids=range(11),
)
def test_the_depth_is_that_of_brackets_outside_of_strings(data, deep):
    assert bool(excess(data)) is deep


@given(plain)
def test_what_was_rendered_is_read_as_it_is(value):
    data = render(value).encode()
    assert read_rendered(data, where="m.json", limit=LIMIT) == (parse(data, where="m.json", limit=LIMIT), True)


@pytest.mark.parametrize("text", ["blake3:" + "1" * 64, "blake3:" + "1" * 20 + "e123", "at 12:" + "1" * 64])
def test_digits_in_a_text_are_no_large_number(text):
    def read(inner):
        data = render({"x": [inner] * 50, "y": {"z": 1}}).encode()
        return steps(lambda: read_rendered(data, where="m.json", limit=LIMIT))

    assert read(text) == read("a" * len(text))
