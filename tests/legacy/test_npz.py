import io
import zipfile

import numpy
import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.open import read

HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


def saved(folder, data: bytes):
    path = folder / "weights.dat"
    path.write_bytes(data)
    return path


def packed(arrays, *, compressed: bool = False) -> bytes:
    out = io.BytesIO()
    (numpy.savez_compressed if compressed else numpy.savez)(out, **arrays)
    return out.getvalue()


def npy(header: str, data: bytes = bytes(8), version: bytes = b"\x01\x00", magic: bytes = b"\x93NUMPY") -> bytes:
    raw = header.encode("latin-1")
    npy = magic + version + len(raw).to_bytes(2 if version[:1] == b"\x01" else 4, "little") + raw + data
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("w.npy", npy)
    return out.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", ">i8", "i2", "u1", "?", "c8", ">c8"])
def test_arrays_of_numbers_are_read_bit_for_bit(tmp_path, dtype, order, compressed):
    array = (numpy.arange(24).reshape(2, 3, 4) % 7).astype(dtype, order=order)
    with read(saved(tmp_path, packed({"net/w": array, "n": array[0, 0, 0]}, compressed=compressed))) as file:
        found = file.members[""]
        assert file.container == "npz"
        assert list(found) == ["net/w", "n"]
        assert (found["net/w"].shape, found["n"].shape) == ((2, 3, 4), ())
        little = array.astype(array.dtype.newbyteorder("<"), order="C")
        assert b"".join(found["net/w"].chunks(8)) == little.tobytes()
        assert (file.source.pickle_protocol, file.source.globals) == (None, ())


def test_what_is_no_number_is_left_out_with_a_warning(tmp_path):
    arrays = {
        "w": numpy.ones(2),
        "text": numpy.array(["a", "b"]),
        "date": numpy.array(["2020"], "M8[D]"),
        "rows": numpy.zeros(2, [("a", "i4")]),
        "long": numpy.zeros(1, "g"),
    }
    with read(saved(tmp_path, packed(arrays))) as file:
        assert list(file.members[""]) == ["w"]
        assert [(w.code, w.where) for w in file.warnings] == [
            ("source.skipped", f"{name}.npy") for name in ("text", "date", "rows", "long")
        ]


@pytest.mark.parametrize("dtype", [object, [("a", object)]])
def test_arrays_of_objects_are_pickles_and_refused(tmp_path, dtype):
    path = saved(tmp_path, packed({"w": numpy.zeros(1, dtype)}))
    with pytest.raises(SourceError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: w.npy: is an array of Python objects, which is a pickle; save arrays of numbers alone"
    )
    assert error.value.code == "source.unsafe"


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        HEADER + " " * 20 + "\n",
        '{"descr": "<f4", "fortran_order": False, "shape": (2,)}',
        "{'shape': (2L,), 'fortran_order': False, 'descr': '<f4'}",
        "{ 'shape' :( 2 , 1 ), 'fortran_order':True,'descr': '<f4' }",
    ],
)
@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"])
def test_headers_as_numpy_writes_them_are_read(tmp_path, header, version):
    with read(saved(tmp_path, npy(header, version=version))) as file:
        assert file.members[""]["w"].size == 2


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "[1]",
        HEADER.replace("(2,)", "(1+1,)"),
        HEADER.replace("(2,)", "(-2,)"),
        HEADER.replace("(2,)", "2"),
        HEADER.replace("(2,)", "(2,,)"),
        HEADER.replace("(2,)", "(2" + "0" * 30 + ",)"),
        HEADER.replace("False", "0"),
        HEADER.replace("False", "__import__('os')"),
        HEADER.replace("'<f4'", "'<f' + '4'"),
        HEADER.replace("'<f4'", "'\\x3cf4'"),
        HEADER.replace("'shape': (2,)", "'shape': (2,), 'shape': (1,)"),
        HEADER.replace("'shape': (2,)", "'form': (2,)"),
        HEADER.replace("'shape': (2,), ", ""),
        HEADER + " #",
        HEADER + HEADER,
    ],
)
def test_a_header_is_not_evaluated(tmp_path, header):
    path = saved(tmp_path, npy(header))
    with pytest.raises(SourceError, match=r": w\.npy: has a (header|shape) that cannot be read: "):
        read(path)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (npy(HEADER, bytes(7)), "its pickle gives an array of 8 bytes 7 bytes"),
        (npy(HEADER, bytes(9)), "its pickle gives an array of 8 bytes 9 bytes"),
        (npy(HEADER, version=b"\x04\x00"), "is no .npy file of the versions 1.0 to 3.0"),
        (npy(HEADER, magic=b"\x93NUMPX"), "is no .npy file of the versions 1.0 to 3.0"),
        (npy(HEADER + " " * 10_000), "has a header of 10,057 bytes"),
        (npy(HEADER.replace("(2,)", f"({2**40}, {2**40})")), "has a shape that no array has"),
        (npy(HEADER.replace("(2,)", "(" + "1," * 40 + ")")), "has a shape that no array has"),
    ],
)
def test_a_damaged_array_is_named(tmp_path, data, sentence):
    path = saved(tmp_path, data)
    with pytest.raises(SourceError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: w.npy: {sentence}")
