import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.errors import WeightsError
from ckptfmt.format.dtypes import DTYPES, bits_of
from ckptfmt.format.safetensors import METADATA, build_header, parse_header, tensor_bytes


def parse(data: bytes):
    return parse_header(lambda offset, size: data[offset : offset + size], len(data), where="w")


def make(header: bytes | dict, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin: int, end: int, **changes) -> dict:
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end], **changes}


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda name: name != "__metadata__")
whole = sorted(name for name in DTYPES if bits_of(name) % 8 == 0)
contents = st.dictionaries(names, st.tuples(st.sampled_from(whole), st.lists(st.integers(0, 5), max_size=4)))


@given(contents, st.randoms())
def test_a_built_header_reads_back_whatever_the_order_given(content, random):
    rows = [(name, dtype, shape) for name, (dtype, shape) in content.items()]
    header, infos = build_header(rows, METADATA)
    random.shuffle(rows)
    assert build_header(rows, METADATA) == (header, infos)
    assert len(header) % 8 == 0
    parsed = parse(header + bytes(infos[-1].end if infos else 0))
    assert {(t.name, t.dtype, t.shape) for t in parsed.tensors} == {(n, d, tuple(s)) for n, d, s in rows}
    assert parsed.metadata == METADATA
    assert parsed.data_start == len(header)


@given(contents)
def test_every_tensor_is_aligned_to_its_element(content):
    _, infos = build_header([(name, dtype, shape) for name, (dtype, shape) in content.items()], {})
    assert all(info.begin % (bits_of(info.dtype) // 8) == 0 for info in infos)


def test_the_safetensors_library_reads_our_header(tmp_path):
    header, infos = build_header([("b", "F32", (2,)), ("a", "I64", (1,)), ("c", "BOOL", ())], METADATA)
    data = {"a": np.array([7]), "b": np.array([1.5, 2], "f4"), "c": np.array(True)}
    path = tmp_path / "w.safetensors"
    path.write_bytes(header + b"".join(data[info.name].tobytes() for info in infos))
    loaded = safetensors.numpy.load_file(path)
    assert {name: array.tolist() for name, array in loaded.items()} == {"a": [7], "b": [1.5, 2.0], "c": True}


def test_we_read_the_header_of_the_safetensors_library():
    data = safetensors.numpy.save({"x": np.zeros((2, 3), "f4"), "y": np.zeros(5, "i8")}, {"k": "v"})
    header = parse(data)
    assert {(t.name, t.dtype, t.shape) for t in header.tensors} == {("x", "F32", (2, 3)), ("y", "I64", (5,))}
    assert header.metadata == {"k": "v"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "w: is no safetensors file, its header does not fit into it; copy it again or re-save it"),
        (b"\xff" * 16, "w: is no safetensors file, its header does not fit into it; copy it again or re-save it"),
        (make(b' {"a":1}'), "w: is no safetensors file, its header does not begin with {; copy it again or re-save it"),
        (make(b"{" * 100_000), "w: nests deeper than 64 levels"),
        (make(b'{"a":{},"a":{}}'), "w: has the key 'a' twice"),
        (make(b'{"a":{},"\\u0061":{}}'), "w: has the key 'a' twice"),
        (make({"__metadata__": {"a": 1}}), "w: has metadata that is not text; copy it again or re-save it"),
        (make({"a": 3}), "w: a: a tensor is described by dtype, shape and data_offsets; copy it again or re-save it"),
        (make({"a": tensor(0, 1, extra=1)}, b"1"),
         "w: a: a tensor is described by dtype, shape and data_offsets; copy it again or re-save it"),
        (make({"a": tensor(0, 1, shape=[True])}, b"1"),
         "w: a: its dtype, shape or offsets have the wrong type; copy it again or re-save it"),
        (make({"a": tensor(0, 1, shape=[1] * 65)}, b"1"),
         "w: a: its shape or offsets have the wrong length; copy it again or re-save it"),
        (make({"a": tensor(0, 1, shape=[10**15] * 130_000)}, b"1"),
         "w: a: its shape or offsets have the wrong length; copy it again or re-save it"),
        (make({"a": tensor(0, 4, dtype="F32")}, b"1234"),
         "w: a: has 4 bytes, its dtype and shape need 16; copy it again or re-save it"),
        (make({"a": tensor(0, 4, shape=[2**62, 2**62])}, b"1234"),
         "w: a: has 4 bytes, its dtype and shape need 21,267,647,932,558,653,966,460,912,964,485,513,216; "
         "copy it again or re-save it"),
        (make({"a": tensor(0, 1, dtype="F99")}, b"1"), "w: a: F99 is no dtype of safetensors"),
        (make({"a": tensor(0, 2), "b": tensor(1, 3)}, b"123"),
         "w: b overlaps the tensor before it; copy it again or re-save it"),
        (make({"a": tensor(0, 1), "b": tensor(2, 3)}, b"123"),
         "w: b leaves a hole before it; copy it again or re-save it"),
        (make({"a": tensor(0, 1)}, b"12"),
         "w: has bytes that belong to no tensor: its tensors take 1 bytes, the file has 2; "
         "copy it again or re-save it"),
        (make({"a": tensor(0, 3)}, b"12"),
         "w: is truncated: its tensors take 3 bytes, the file has 2; copy it again or re-save it"),
    ],
)  # fmt: skip
def test_what_the_format_forbids_is_refused_in_one_sentence(data, sentence):
    with pytest.raises(WeightsError) as caught:
        parse(data)
    assert str(caught.value) == sentence


@given(st.binary(max_size=64), st.binary(max_size=8))
def test_any_header_gives_a_result_or_the_one_error(text, data):
    try:
        parsed = parse(make(b"{" + text, data))
    except WeightsError as e:
        found = str(e).startswith("w: ")
    else:
        held = sum(tensor.nbytes for tensor in parsed.tensors)
        found = (parsed.data_start, held) == (8 + 1 + len(text), len(data))
    assert found


def test_names_that_the_format_reserves_are_not_written():
    with pytest.raises(WeightsError) as caught:
        build_header([("__metadata__", "U8", (1,))], {})
    assert str(caught.value) == "'__metadata__' cannot be the name of a tensor here"


def test_parts_of_a_byte_have_no_size():
    assert tensor_bytes("F4", (4,)) == 2
    with pytest.raises(WeightsError) as caught:
        tensor_bytes("F4", (3,))
    assert str(caught.value) == "a tensor of F4 does not fill whole bytes"
