import os
import struct
from pathlib import Path

import pytest

from ckptfmt.errors import SourceError, UnsafeSource
from ckptfmt.legacy.open import LegacyFile, read
from ckptfmt.legacy.pickle.inert import Opaque

FLOATS = b"ctorch\nFloatStorage\n"
CPU = b"X\x03\0\0\0cpu"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def opened(folder: Path, data: bytes) -> LegacyFile:
    path = folder / "model.pt"
    path.write_bytes(data)
    return read(path)


def refusal(folder: Path, data: bytes) -> str:
    with pytest.raises(SourceError) as error:
        opened(folder, data)
    return str(error.value).removeprefix(f"{folder}/model.pt: ").partition(";")[0]


def storage(numel: int, key: str = "7", kind: bytes = FLOATS, view: bytes = b"N") -> bytes:
    return b"(" + text("storage") + kind + text(key) + CPU + b"J" + struct.pack("<i", numel) + view + b"tQ"


def build(make, pickle: bytes, keys: list[str], *raw: bytes) -> bytes:
    listed = b"\x80\x02](" + b"".join(map(text, keys)) + b"e."
    return make.MAGIC + make.VERSION + b"\x80\x02}." + b"\x80\x02" + pickle + b"." + listed + b"".join(raw)


def raw(*values: float) -> bytes:
    return struct.pack(f"<q{len(values)}f", len(values), *values)


def test_a_stream_is_read(make, tmp_path):
    with opened(tmp_path, make.stream([1.0, 2.0])) as file:
        assert file.container == "torch-stream"
        assert file.members[""]["w"].numbers() == [1.0, 2.0]
        assert file.source.pickle_protocol == 2


def test_storages_are_little_endian_whatever_machine_wrote_them(make, tmp_path):
    with opened(tmp_path, make.stream([1.0, 2.0], little=False)) as file:
        assert file.members[""]["w"].numbers() == [1.0, 2.0]


def test_a_storage_is_one_object_however_often_it_comes(make, tmp_path):
    data = build(make, b"(" + storage(2) + storage(2) + b"t", ["7"], raw(1, 2))
    with opened(tmp_path, data) as file:
        first, second = file.members[""]
        assert first is second
        assert first.data.read(0, 8) == struct.pack("<2f", 1, 2)


def test_views_of_a_storage_are_read(make, tmp_path):
    view = b"(" + text("8") + b"K\x01K\x02t"
    data = build(make, b"(" + storage(4, view=view) + storage(4) + b"t", ["7"], raw(1, 2, 3, 4))
    with opened(tmp_path, data) as file:
        part, whole = file.members[""]
        assert part.data.read(0, 8) == struct.pack("<2f", 2, 3)
        assert whole.data.size == 16


def test_a_view_outside_its_storage_is_refused(make, tmp_path):
    view = b"(" + text("8") + b"K\x03K\x02t"
    assert "ends at byte 16" in refusal(tmp_path, build(make, storage(4, view=view), ["7"], raw(1, 2, 3, 4)))


def test_a_module_id_gives_its_class_and_does_nothing(make, tmp_path):
    pid = b"(" + text("module") + b"cmodel\nNet\n" + text("patched.py") + text("source") + b"tQ"
    with opened(tmp_path, build(make, pid, [])) as file:
        found = file.members[""]
        assert isinstance(found, Opaque)
        assert found.name == "model.Net"
    assert os.listdir(tmp_path) == ["model.pt"]


@pytest.mark.parametrize(
    ("pickle", "keys", "rest", "sentence"),
    [
        (
            storage(2),
            ["7"],
            raw(1, 2) + b"evil",
            "has 4 bytes behind its last storage",
        ),
        (storage(2), ["7"], raw(1, 2, 3), "its storage 7 has 12 bytes, not 8"),
        (storage(2), ["7"], raw(1, 2)[:-1], "ends before its storages do: 2 elements should follow byte {at}"),
        (storage(2), ["7"], struct.pack("<q", -1), "ends before its storages do: -1 elements should follow byte {at}"),
        (storage(2), ["7"], b"", "ends at byte {end}, but bytes up to {at} are needed"),
        (storage(2), [], b"", "its list of storages is not that of the storages its pickle refers to"),
        (
            storage(2),
            ["7", "7"],
            raw(1, 2) * 2,
            "its list of storages is not that of the storages its pickle refers to",
        ),
        (
            storage(2),
            ["7", "8"],
            raw(1, 2) * 2,
            "its list of storages is not that of the storages its pickle refers to",
        ),
        (
            b"(" + storage(2) + storage(3) + b"t",
            ["7"],
            raw(1, 2),
            "refers to the storage 7 in ways that contradict each other",
        ),
        (
            b"(" + storage(2) + storage(2, kind=b"ctorch\nIntStorage\n") + b"t",
            ["7"],
            raw(1, 2),
            "refers to the storage 7 in ways that contradict each other",
        ),
        (
            b"(" + storage(2) + storage(2, view=b"(" + text("7") + b"K\x00K\x01t") + b"t",
            ["7"],
            raw(1, 2),
            "refers to the storage 7 in ways that contradict each other",
        ),
        (storage(-1), ["7"], raw(), "its pickle refers to a storage in a way that torch does not"),
        (text("x") + b"Q", [], b"", "its pickle refers to a storage in a way that torch does not"),
    ],
)
def test_a_stream_that_contradicts_itself_is_refused(make, tmp_path, pickle, keys, rest, sentence):
    data = build(make, pickle, keys, rest)
    at = len(data) - len(rest) + 8
    assert refusal(tmp_path, data) == sentence.format(at=at, end=len(data))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"\x80\x02M\xe9\x03.", b"\x80\x02K\x01.", "is a torch stream of the unknown protocol 1"),
        (b"\x80\x02}.", b"\x80\x02N.", "is a torch stream without the facts of its machine"),
        (b"\x80\x02](", b"\x80\x02)(", "its list of storages is not a list of keys"),
    ],
)
def test_each_of_its_pickles_must_be_what_it_should(make, tmp_path, old, new, sentence):
    data = build(make, b"N", [])
    assert old in data
    found = refusal(tmp_path, data.replace(old, new).replace(b")(e.", b")."))
    assert found == sentence


@pytest.mark.parametrize("place", range(5))
def test_each_of_its_pickles_is_refused_for_what_it_calls(make, tmp_path, place):
    parts = [make.MAGIC, make.VERSION, b"\x80\x02}.", b"\x80\x02N.", b"\x80\x02]."]
    parts[place] = b"\x80\x02cos\nsystem\n(X\x02\0\0\0idtR."
    with pytest.raises(UnsafeSource) as error:
        opened(tmp_path, b"".join(parts))
    assert error.value.what == "refused, its pickle calls os.system; nothing was run"
