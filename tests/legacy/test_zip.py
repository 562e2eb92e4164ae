import io
import struct
import subprocess
import zipfile
import zlib
from dataclasses import replace

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.blocks import MemoryBlock, Spool, pieces
from ckptfmt.legacy.containers.zip import read_archive

RESAVE = "re-save it with the program that wrote it"
COPY = "copy or download it again"


def names(data: bytes) -> list[str]:
    return list(read_archive(MemoryBlock(data)).entries)


def content(data: bytes, name: str) -> bytes:
    spool = Spool(1 << 20)
    try:
        return b"".join(pieces(read_archive(MemoryBlock(data)).open(name, spool)))
    finally:
        spool.close()


def refusal(data: bytes, name: str = "") -> SourceError:
    with pytest.raises(SourceError) as error:
        content(data, name) if name else names(data)
    return error.value


def written(**options) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        archive.writestr("a/", b"")
        archive.writestr("a/data.pkl", b"pickle" * 1000)
        archive.writestr("a/empty", b"")
    return out.getvalue()


class Unseekable(io.RawIOBase):
    """A pipe: what is written to it gets data descriptors."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.data += bytes(data)
        return len(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_of_the_standard_library_are_read(method):
    data = written(compression=method)
    assert names(data) == ["a/", "a/data.pkl", "a/empty"]
    assert content(data, "a/data.pkl") == b"pickle" * 1000
    assert content(data, "a/empty") == b""


@pytest.mark.parametrize("force_zip64", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_written_to_a_pipe_are_read(method, force_zip64):
    pipe = Unseekable()
    with zipfile.ZipFile(pipe, "w", method) as archive, archive.open("a", "w", force_zip64=force_zip64) as record:
        record.write(b"weights" * 99)
    assert content(pipe.data, "a") == b"weights" * 99


def test_archives_with_zip64_sizes_in_their_local_headers_are_read():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("policy.pth", "w", force_zip64=True) as record:
        record.write(b"weights")
    assert content(out.getvalue(), "policy.pth") == b"weights"


def test_archives_of_the_zip_program_are_read(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "data.pkl").write_bytes(b"pickle" * 100)
    try:
        subprocess.run(["zip", "-qr", "a.zip", "a"], cwd=tmp_path, check=True)
    except FileNotFoundError:
        pytest.skip("the zip program is not installed")
    assert content((tmp_path / "a.zip").read_bytes(), "a/data.pkl") == b"pickle" * 100


def test_records_as_torch_writes_them_are_read(make):
    assert content(make.torch_zip([1.0]), "archive/data/0") == struct.pack("<f", 1.0)


def test_a_comment_at_the_end_is_no_harm(make):
    assert names(make.zip([make.Rec("a", b"x")], comment=b"made by hand")) == ["a"]


def test_an_empty_archive_has_no_records(make):
    assert names(make.zip([])) == []


def test_names_beyond_ascii_need_their_flag(make):
    assert names(make.zip([make.Rec("modèle/x", b"", flags=0x800)])) == ["modèle/x"]
    error = refusal(make.zip([make.Rec("modèle/x", b"")]))
    assert error.what == r"has a record whose name b'mod\xc3\xa8le/x' readers spell differently"


@pytest.mark.parametrize(
    ("twice", "shown"), [(["a", "a"], "a"), (["a/Data.pkl", "a/data.pkl"], "a/data.pkl"), (["a", "a/"], "a/")]
)
def test_two_records_of_one_name_are_refused(make, twice, shown):
    error = refusal(make.zip([make.Rec(name, b"") for name in twice]))
    assert str(error) == f"has two records named {shown}; {RESAVE}"
    assert error.code == "source.ambiguous"


@pytest.mark.parametrize(
    "name", ["a\0b", "../a", "a/../b", "/a", "a//b", "", "C:x", "a\\b", "a\nb", "./a", "a/."], ids=repr
)
def test_names_that_readers_cut_or_that_leave_the_archive_are_refused(make, name):
    assert refusal(make.zip([make.Rec(name, b"")])).what.startswith("has a record with the unsafe name ")


LIES = {
    "local_name": b"b",
    "local_flags": 0x800,
    "local_method": 8,
    "local_crc": 1,
    "local_size": 9,
    "local_extra": struct.pack("<2HQQ", 1, 16, 5, 5),
}


@pytest.mark.parametrize("field", LIES)
def test_a_local_header_that_says_something_else_is_refused(make, field):
    error = refusal(make.zip([replace(make.Rec("a", b"xy"), **{field: LIES[field]})]))
    assert str(error) == f"the record a is described in two ways that disagree; {RESAVE}"


def test_a_descriptor_that_says_something_else_is_refused(make):
    honest = make.as_torch("a", b"xy")
    assert names(make.zip([honest])) == ["a"]
    lie = replace(honest, descriptor=struct.pack("<4s3L", b"PK\x07\x08", zlib.crc32(b"xy"), 2, 3))
    assert refusal(make.zip([lie])).what == "the record a is described in two ways that disagree"
    assert refusal(make.zip([replace(honest, descriptor=b"")])).code == "source.ambiguous"


@pytest.mark.parametrize(
    ("change", "sentence", "code"),
    [
        ({"flags": 0x0001}, "the record a is encrypted", "source.encrypted"),
        ({"flags": 0x2000}, "the record a is encrypted", "source.encrypted"),
        ({"flags": 0x0020}, "the record a has the unusual flags 0x0020", "source.ambiguous"),
        ({"flags": 0x0002}, "the record a has the unusual flags 0x0002", "source.ambiguous"),
        ({"method": 12}, "the record a is packed with method 12, not stored or deflated", "source.ambiguous"),
        ({"size": 7}, "the record a has two sizes, 2 and 7 bytes", "source.ambiguous"),
        ({"name": "a/"}, "the record a/ has two sizes, 2 and 2 bytes", "source.ambiguous"),
        ({"made_by": 3 << 8, "mode": 0o120777 << 16}, "the record a is a link or on another disk", "source.ambiguous"),
        (
            {"extra": struct.pack("<2H", 0x7075, 9) + b"\1\0\0\0\0data"},
            "the record a has extra fields that readers see differently",
            "source.ambiguous",
        ),
        ({"extra": b"FB\xff\xff"}, "the record a has extra fields that readers see differently", "source.ambiguous"),
        ({"extra": b"abc"}, "the record a has extra fields that readers see differently", "source.ambiguous"),
        (
            {"extra": struct.pack("<2HQ", 1, 8, 2)},
            "the record a has sizes that readers see differently",
            "source.ambiguous",
        ),
        ({"size": 0xFFFFFFFF}, "the record a has sizes that readers see differently", "source.ambiguous"),
    ],
    ids=str,
)
def test_odd_records_are_refused(make, change, sentence, code):
    error = refusal(make.zip([replace(make.Rec("a", b"xy"), **change)]))
    assert (error.what, error.code) == (sentence, code)


def test_bytes_that_belong_to_no_record_are_refused(make):
    a, b = make.Rec("a", b"xy"), make.Rec("b", b"z")
    assert refusal(make.zip([a, b], front=b"MZ", start=60)).code == "source.ambiguous"
    assert refusal(make.zip([a], front=b"MZ")).what == "has records that leave a hole at byte 0"
    assert refusal(make.zip([replace(a, gap=b"evil"), b])).what == "has records that leave a hole at byte 33"
    assert refusal(make.zip([replace(a, gap=b"evil")])).what == "has 4 bytes that belong to no record"
    assert refusal(make.zip([a], tail=b"evil")).what == "has bytes behind the end of its zip archive"
    assert refusal(make.zip([a]) + bytes(70_000)).code == "source.truncated"


def test_an_archive_behind_other_data_is_refused(make):
    error = refusal(b"GIF89a" + make.zip([make.Rec("a", b"xy")]))
    assert error.what == "has 6 bytes in front of its zip archive"
    first = make.zip([make.Rec("a", b"one")])
    assert refusal(first + make.zip([make.Rec("a", b"two")])).code == "source.ambiguous"


def test_overlapping_records_are_refused(make):
    bomb = make.zip([make.Rec("a", b"xy"), make.Rec("b", b"xy", header=0)])
    assert refusal(bomb).what == "has records that overlap at byte 0"
    inside = make.Rec("b", b"xy")
    outside = make.Rec("a", make.zip([inside])[:-68])
    assert refusal(make.zip([outside, replace(inside, header=31)])).what == "has records that overlap at byte 31"


def test_the_end_must_agree_with_the_list(make):
    records = [make.Rec("a", b"x"), make.Rec("b", b"y")]
    assert refusal(make.zip(records, count=1)).what == "lists 2 records where its end says 1"
    assert refusal(make.zip(records, start=5)).what == "has 59 bytes in front of its zip archive"
    assert refusal(make.zip(records)[:-1]).code == "source.truncated"
    split = bytearray(make.zip(records))
    split[-18] = 1
    assert refusal(bytes(split)).what == "is one part of a zip archive of several"


def test_an_end_inside_the_comment_does_not_hide_the_real_one(make):
    decoy = make.zip([make.Rec("evil", b"y")])
    error = refusal(make.zip([make.Rec("a", b"x")], comment=decoy))
    assert error.code == "source.ambiguous"


@pytest.mark.parametrize("place", range(56 + 20))
def test_a_zip64_end_that_disagrees_is_refused(make, place):
    whole = make.zip64_end(make.zip([make.Rec("a", b"x")]))
    assert names(whole) == ["a"]
    data = bytearray(whole)
    at = len(data) - 22 - 20 - 56 + place
    data[at] ^= 0x10
    ignored = range(12, 16)
    if place in ignored:
        assert names(bytes(data)) == ["a"]
    else:
        assert refusal(bytes(data)).code in ("source.ambiguous", "source.damaged", "source.limit", "source.truncated")


def test_a_missing_or_damaged_list_is_refused(make):
    whole = make.zip([make.Rec("a", b"x")])
    assert refusal(whole[:20]).what == "is a zip archive without its end, where the list of its records is"
    assert refusal(whole.replace(b"PK\x01\x02", b"PK\x01\x03")).what == "has a damaged list of records"
    assert refusal(whole.replace(b"PK\x03\x04", b"PK\x03\x05")).code == "source.ambiguous"


def test_a_deflated_record_must_be_what_was_promised(make):
    honest = make.Rec("a", b"weights" * 50, method=8)
    assert content(make.zip([honest]), "a") == b"weights" * 50
    sentence = "the record a does not match its CRC-32: the file is damaged"
    for lie in ({"crc": 5}, {"size": 100}, {"size": 1000}):
        error = refusal(make.zip([replace(honest, **lie)]), "a")
        assert (error.what, error.code) == (sentence, "source.crc")
    tail = replace(honest, packed=honest.payload() + b"hidden")
    assert refusal(make.zip([tail]), "a").what == sentence
    cut = replace(honest, packed=honest.payload()[:-2])
    assert refusal(make.zip([cut]), "a").what == "ends in the middle of its deflated data"


def test_a_record_that_unpacks_to_too_much_is_refused(make):
    bomb = make.zip([make.Rec("a", bytes(5 << 20), method=8)])
    assert len(bomb) < 10_000
    assert refusal(bomb, "a").code == "source.limit"


def test_a_missing_record_is_named(make):
    error = refusal(make.zip([make.Rec("a", b"x")]), "data/\x1b[31m0")
    assert error.what == r"the record data/\x1b[31m0 is missing from the archive"


def test_archives_of_torch_without_checksums_are_known(make):
    records = [make.as_torch(rec.name, rec.data) for rec in make.torch_records()]
    unchecked = [replace(rec, crc=0, descriptor=rec.descriptor[:4] + bytes(4) + rec.descriptor[8:]) for rec in records]
    assert read_archive(MemoryBlock(make.zip(unchecked))).without_crc
    assert not read_archive(MemoryBlock(make.zip(records))).without_crc
    assert not read_archive(MemoryBlock(make.zip([*records[:1], *unchecked[1:]]))).without_crc


def test_many_records_are_read_in_time_and_too_many_refused(make):
    many = make.zip([make.Rec(f"a/{i}", b"") for i in range(5000)])
    assert len(names(many)) == 5000
    wide = bytearray(make.zip64_end(make.zip([])))
    at = len(wide) - 22 - 20 - 56
    struct.pack_into("<2Q", wide, at + 24, 1 << 40, 1 << 40)
    struct.pack_into("<2H", wide, len(wide) - 14, 0xFFFF, 0xFFFF)
    assert refusal(bytes(wide)).what == "lists 1,099,511,627,776 records in 0 bytes, more than any checkpoint has"
