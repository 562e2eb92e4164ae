"""Small files of every container, changed at random: whatever is in them, only a `SourceError` may come out."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptfmt.errors import SourceError
from ckptfmt.format.safetensors import build_header
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.open import read
from ckptfmt.legacy.pickle.inert import Opaque

KINDS = [
    "torch-zip",
    "deflated",
    "torchscript-zip",
    "sb3-zip",
    "torch-stream",
    "torch-tar",
    "tar",
    "gzip",
    "bz2",
    "xz",
    "npz",
    "safetensors",
    "pickle",
    "text-pickle",
]


@pytest.fixture
def seed(make):
    head = b"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(16)
    header, _ = build_header([("w", "F32", (2,)), ("n", "I64", ())], {"note": "x"})
    plain = make.torch_records()
    files = {
        "torch-zip": make.torch_zip(),
        "deflated": make.zip([make.Rec(rec.name, rec.data, method=8) for rec in plain]),
        "torchscript-zip": make.zip([*plain, make.Rec("archive/constants.pkl", b"x")]),
        "sb3-zip": make.zip([make.Rec("data", b"{}"), make.Rec("policy.pth", make.torch_zip())]),
        "torch-stream": make.stream(),
        "torch-tar": make.torch_tar(),
        "tar": make.tar([("a.txt", b"x"), ("b.pth", make.torch_zip())], format=2),
        "gzip": gzip.compress(make.torch_zip()),
        "bz2": bz2.compress(make.stream()),
        "xz": lzma.compress(make.torch_zip()),
        "npz": make.zip([make.Rec("w.npy", npy)]),
        "safetensors": header + struct.pack("<q2f", 9, 1, 2),
        "pickle": pickle.dumps({"w": [1, 2.5, "x", b"y", (3, None)], 1: {2, 3}}, protocol=5),
        "text-pickle": pickle.dumps({"w": [1, 2.5, "x", b"y", (3, None)], 1: {2, 3}}, protocol=0),
    }
    assert list(files) == KINDS
    return files


def look(value: object, left: int = 200) -> None:
    """Touch all that a file gave, as those who use it would."""
    waiting = [value]
    while waiting and (left := left - 1):
        match waiting.pop():
            case LegacyTensor() as tensor:
                for _ in tensor.chunks(1 << 16):
                    pass
            case Opaque() as thing:
                waiting += [thing.args, thing.state, thing.items, thing.pairs]
            case dict() as pairs:
                waiting += [*pairs, *pairs.values()]
            case list() | tuple() as items:
                waiting += items


def survive(path: Path, data: bytes) -> bool:
    """Return whether the file was accepted; anything but acceptance or a foreseen refusal fails."""
    path.write_bytes(data)
    refused = None
    try:
        with read(path) as file:
            look(dict(file.members))
            assert file.source.bytes == len(data)
    except SourceError as e:
        refused = e
    assert refused is None or (refused.code != "source.unforeseen" and "\n" not in str(refused))
    return refused is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_unchanged_file_is_accepted(seed, tmp_path, kind):
    assert survive(tmp_path / "model", seed[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_changed_byte_is_survived(seed, tmp_path, kind):
    data = seed[kind]
    step = max(1, len(data) // 400)
    refused = 0
    for at in range(0, len(data), step):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        refused += not survive(tmp_path / "model", bytes(changed))
    assert refused


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_any_change_is_survived(seed, tmp_path, kind, draw):
    data = bytearray(seed[kind])
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data)))
        cut = draw.draw(st.integers(0, 12))
        odd = draw.draw(st.sampled_from([b"", b"\xff" * 4, b"\xff" * 8, bytes(8), b"(", b"0", b"R", b"Q", b"2", b"."]))
        data[at : at + cut] = odd if odd or cut else draw.draw(st.binary(max_size=8))
    survive(tmp_path / "model", bytes(data))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_survived(tmp_path, data):
    for magic in (b"", b"\x80\x02", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00"):
        survive(tmp_path / "model", magic + data)


def test_no_change_of_an_archive_goes_unnoticed(seed, tmp_path, make):
    """Each bit of a zip of torch is used by a reader, or held by a CRC, or is padding."""
    data = seed["torch-zip"]
    accepted = []
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x40
        if survive(tmp_path / "model", bytes(changed)):
            accepted.append(at)
    assert set(accepted) <= unused(data)


def unused(data: bytes) -> set[int]:
    """The bytes of a zip that say nothing of its content: versions, times, attributes, padding."""
    free: set[int] = set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        at = archive.start_dir
        for info in archive.infolist():
            local, extra = info.header_offset, info.header_offset + 30 + len(info.filename)
            free |= {*range(local + 4, local + 6), *range(local + 10, local + 14)}
            free |= {*range(extra, extra + 2), *range(extra + 4, extra + 10)}
            free |= {*range(at + 4, at + 8), *range(at + 12, at + 16), *range(at + 36, at + 42)}
            at += 46 + len(info.filename)
    return free | set(range(at + 12, at + 16))


def test_a_hostile_file_costs_little_memory(make, tmp_path):
    bombs = {
        "gzip": gzip.compress(bytes(60 << 20)),
        "pickle": make.zip([make.Rec("a/data.pkl", bytes(60 << 20), method=8)]),
        "storage": make.zip([*make.torch_records(), make.Rec("archive/data/1", bytes(60 << 20), method=8)]),
        "members": make.tar((f"m{i}", b"") for i in range(2000)),
        "records": make.zip([make.Rec(f"a/{i}", b"") for i in range(9000)]),
    }
    script = (
        "import sys\n"
        "from ckptfmt.legacy.open import SourceError, read\n"
        "try: read(sys.argv[1])\n"
        "except SourceError: pass\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])\n"
    )
    path = tmp_path / "model"
    for kind, bomb in bombs.items():
        path.write_bytes(bomb)
        done = subprocess.run([sys.executable, "-P", "-c", script, path], capture_output=True, text=True, check=True)
        assert int(done.stdout) < 90 << 10, kind
