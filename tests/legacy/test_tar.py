import io
import os
import struct
import tarfile

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.blocks import MemoryBlock, pieces
from ckptfmt.legacy.containers.tar import is_tar, read_members
from ckptfmt.legacy.open import read


def members(data: bytes) -> dict[str, bytes]:
    return {member.name: b"".join(pieces(member.block)) for member in read_members(MemoryBlock(data))}


def refusal(data: bytes) -> SourceError:
    with pytest.raises(SourceError) as error:
        members(data)
    return error.value


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_the_standard_library_are_read(make, form):
    files = {"a.pth": b"x" * 700, "d/b": b"", "l" * 95 + "/" + "n" * 90: b"y"}
    data = make.tar(files.items(), format=form, mtime=1.5 if form == tarfile.PAX_FORMAT else 1)
    assert is_tar(MemoryBlock(data))
    assert members(data) == files


def test_names_beyond_the_header_are_read(make):
    files = {"dé" * 150: b"x"}
    assert members(make.tar(files.items(), format=tarfile.PAX_FORMAT)) == files
    assert members(make.tar(files.items(), format=tarfile.GNU_FORMAT)) == files


def test_a_folder_packed_from_disk_is_read(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.pth").write_bytes(b"weights")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(tmp_path / "run", "./run")
    assert members(out.getvalue()) == {"run/model.pth": b"weights"}


@pytest.mark.parametrize(
    "kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"S", b"7", b"V"]
)
def test_links_devices_and_pipes_are_refused(make, kind):
    data = make.tar([("storages", b"")], type=kind, linkname="/etc/passwd")
    assert refusal(data).what == ("the member storages is a link, a device or something else that is not a file")


@pytest.mark.parametrize("names", [["a", "a"], ["a", "./a"], ["/a"], ["../a"], ["b/../../a"], ["a\nb"]], ids=str)
def test_names_that_come_twice_or_leave_the_archive_are_refused(make, names):
    assert "comes twice, has an unsafe name, or is one of too many" in refusal(make.tar((n, b"") for n in names)).what


def test_a_name_with_something_behind_its_end_is_refused(make):
    data = bytearray(make.tar([("a", b"x")]))
    data[50:54] = b"evil"
    header = data[:148] + b" " * 8 + data[156:512]
    data[148:156] = b"%06o\0 " % sum(header)
    assert refusal(bytes(data)).what == "has a member whose name has a second part behind NUL"


@pytest.mark.parametrize("key", ["size", "linkpath", "GNU.sparse.name", "GNU.sparse.map"])
def test_pax_headers_that_change_what_a_member_is_are_refused(make, key):
    data = make.tar([("a", b"x")], format=tarfile.PAX_FORMAT, pax_headers={key: "1"})
    assert refusal(data).what == f"has a pax header that sets {key}"


def test_a_damaged_pax_header_is_refused(make):
    data = make.tar([("a", b"x")], format=tarfile.PAX_FORMAT, pax_headers={"comment": "hello"})
    for old, new in ((b"17 comment", b"99 comment"), (b"17 comment", b"16 comment"), (b"17 comment", b"zz comment")):
        assert old in data
        assert refusal(data.replace(old, new)).what == "has a damaged pax header"


def test_damage_and_other_bytes_are_refused(make):
    data = make.tar([("a", b"x" * 600)])
    broken = bytearray(data)
    broken[0] ^= 1
    assert not is_tar(MemoryBlock(bytes(broken)))
    assert refusal(data[:1000]).code == "source.truncated"
    assert refusal(data[:1536]).code == "source.truncated"
    assert refusal(data + b"evil").what == "has bytes behind the end of its tar archive"
    assert refusal(data[:-600] + b"x" * 512).what == "has bytes behind the end of its tar archive"
    assert refusal(data[:1536] + b"x" * 512).what == "has a damaged tar header at byte 1,536"


def test_a_size_that_no_number_is_refused(make):
    data = bytearray(make.tar([("a", b"x")]))
    data[124:136] = b"\x80" + bytes(10) + b"\x01"
    header = data[:148] + b" " * 8 + data[156:512]
    data[148:156] = b"%06o\0 " % sum(header)
    assert refusal(bytes(data)).what == "has a member whose size cannot be read"


def saved(tmp_path, data: bytes):
    path = tmp_path / "old.tar"
    path.write_bytes(data)
    return path


def torch_tar_refusal(tmp_path, data: bytes) -> str:
    with pytest.raises(SourceError) as error:
        read(saved(tmp_path, data))
    return str(error.value).removeprefix(f"{tmp_path}/old.tar: ")


def test_the_oldest_format_of_torch_is_read_in_place(make, tmp_path):
    with read(saved(tmp_path, make.torch_tar([1.0, 2.0]))) as file:
        assert file.container == "torch-tar"
        assert file.members[""]["w"].numbers() == [1.0, 2.0]
    assert os.listdir(tmp_path) == ["old.tar"]


def test_views_of_storages_in_the_oldest_format_are_read(make, tmp_path):
    head = b"\x80\x02(K\x07X\x03\0\0\0cpuctorch\nFloatStorage\nt."
    raw = struct.pack("<q4f", 4, 1, 2, 3, 4)
    storages = b"\x80\x02K\x01." + head + raw + b"\x80\x02]((K\x08K\x07K\x01K\x02te."
    tensors = b"\x80\x02K\x01.\x80\x02(K\x09K\x08ctorch\nFloatTensor\nt." + struct.pack("<iiqqq", 1, 0, 2, 1, 0)
    with read(saved(tmp_path, make.torch_tar(storages=storages, tensors=tensors))) as file:
        assert file.members[""]["w"].numbers() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("member", "data", "sentence"),
    [
        ("pickle", b"\x80\x02X\x01\0\0\x005Q.", "pickle: its pickle refers to a tensor that it does not hold"),
        ("pickle", b"\x80\x02N.evil", "pickle: has 4 bytes behind the end of its pickle"),
        ("tensors", b"\x80\x02K\x00.evil", "tensors: has 4 bytes behind its last tensor"),
        ("tensors", b"\x80\x02J\xff\xff\xff\xff.", "tensors: says that it holds -1 objects"),
        ("tensors", b"\x80\x02K\x01.\x80\x02K\x01.", "tensors: describes a tensor in a way that torch does not"),
        ("storages", b"\x80\x02N.", "storages: says that it holds None objects"),
        ("storages", b"\x80\x02K\x01.\x80\x02).", "storages: describes a storage in a way that torch does not"),
        ("storages", b"\x80\x02K\x00.\x80\x02N.", "storages: its list of views is not a list"),
        (
            "storages",
            b"\x80\x02K\x00.\x80\x02]((K\x01te.",
            "storages: describes a part of a storage in a way that torch does not",
        ),
        ("evil", b"", "has the member evil, which torch did not write"),
    ],
)
def test_a_damaged_part_of_the_oldest_format_is_named(make, tmp_path, member, data, sentence):
    found = torch_tar_refusal(tmp_path, make.torch_tar(**{member: data}))
    assert found.partition(";")[0] == sentence


@pytest.mark.parametrize("member", ["sys_info", "storages", "tensors", "pickle"])
def test_every_pickle_of_the_oldest_format_is_refused_for_what_it_calls(make, tmp_path, member):
    found = torch_tar_refusal(tmp_path, make.torch_tar(**{member: b"\x80\x02cos\nsystem\n(X\x02\0\0\0idtR."}))
    assert found == f"{member}: refused, its pickle calls os.system; nothing was run"


def test_a_module_id_of_the_oldest_format_does_nothing(make, tmp_path):
    pickle = b"\x80\x02((cmodel\nNet\nX\x06\0\0\0net.pyX\x04\0\0\0codetQK\x05t."
    with read(saved(tmp_path, make.torch_tar(pickle=pickle))) as file:
        assert file.members[""][0].name == "model.Net"
    assert os.listdir(tmp_path) == ["old.tar"]


def test_tensors_of_the_oldest_format_stay_in_their_storage(make, tmp_path):
    tensors = b"\x80\x02K\x01.\x80\x02(K\x09K\x07ctorch\nFloatTensor\nt." + struct.pack("<iiqqq", 1, 0, 9, 1, 0)
    assert "reaches to byte 36 of a storage of 12 bytes" in torch_tar_refusal(tmp_path, make.torch_tar(tensors=tensors))
    tensors = tensors[:-32] + struct.pack("<ii", 99, 0) + bytes(8 * 199)
    assert "has a tensor of 99 dimensions" in torch_tar_refusal(tmp_path, make.torch_tar(tensors=tensors))
