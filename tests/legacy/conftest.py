"""Legacy files built byte by byte, so that they can be right or wrong in exactly one place."""

import io
import struct
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Rec:
    """A zip record; what is None in the local header repeats the central one."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    mode: int = 0
    made_by: int = 0
    extra: bytes = b""
    raw_name: bytes | None = None
    local_name: bytes | None = None
    local_flags: int | None = None
    local_method: int | None = None
    local_crc: int | None = None
    local_size: int | None = None
    local_extra: bytes = b""
    descriptor: bytes = b""
    header: int | None = None
    gap: bytes = b""
    packed: bytes | None = None

    def payload(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if self.method != 8:
            return self.data
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(self.data) + packer.flush()


def text(value: str) -> bytes:
    """A short string as protocol 2 writes it."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


class Make:
    """Builders of small files in every container."""

    Rec = Rec
    MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    VERSION = b"\x80\x02M\xe9\x03."

    @staticmethod
    def zip(
        records: Iterable[Rec], *, front: bytes = b"", tail: bytes = b"", comment: bytes = b"", **end: int
    ) -> bytes:
        out, central = bytearray(front), bytearray()
        records = list(records)
        for rec in records:
            at, payload = len(out), rec.payload()
            crc = zlib.crc32(rec.data) if rec.crc is None else rec.crc
            size = len(rec.data) if rec.size is None else rec.size
            name = rec.name.encode() if rec.raw_name is None else rec.raw_name
            local_name = name if rec.local_name is None else rec.local_name
            local_size = size if rec.local_size is None else rec.local_size
            stored = len(payload) if rec.local_size is None else rec.local_size
            out += struct.pack(
                "<4s5H3L2H",
                b"PK\x03\x04",
                20,
                rec.flags if rec.local_flags is None else rec.local_flags,
                rec.method if rec.local_method is None else rec.local_method,
                0,
                0,
                crc if rec.local_crc is None else rec.local_crc,
                stored,
                local_size,
                len(local_name),
                len(rec.local_extra),
            )
            out += local_name + rec.local_extra + payload + rec.descriptor + rec.gap
            fields = (rec.made_by, 20, rec.flags, rec.method, 0, 0, crc, len(payload), size, len(name), len(rec.extra))
            where = at if rec.header is None else rec.header
            central += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields, 0, 0, 0, rec.mode, where)
            central += name + rec.extra
        count = end.get("count", len(records))
        start = end.get("start", len(out))
        closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(central), start, len(comment))
        return bytes(out + central + closing + comment) + tail

    @staticmethod
    def as_torch(name: str, data: bytes, at: int = 0) -> Rec:
        """A record with the flags, padding and descriptor that torch writes."""
        crc, size = zlib.crc32(data), len(data)
        return Rec(
            name,
            data,
            flags=0x808,
            local_crc=0,
            local_size=0,
            local_extra=b"FB" + struct.pack("<H", 6) + b"Z" * 6,
            descriptor=struct.pack("<4s3L", b"PK\x07\x08", crc, size, size),
        )

    @staticmethod
    def zip64_end(plain: bytes) -> bytes:
        """The same archive with the zip64 end record that torch always writes."""
        body, end = plain[:-22], plain[-22:]
        _, _, _, here, count, size, start, _ = struct.unpack("<4s4H2LH", end)
        wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 798, 45, 0, 0, here, count, size, start)
        return body + wide + struct.pack("<4sLQL", b"PK\x06\x07", 0, len(body), 1) + end

    @staticmethod
    def pickle(tensors: dict[str, tuple[str, tuple[int, ...]]], *, stream: bool = False) -> bytes:
        """A state dict of float tensors as protocol 2 writes it: name -> (storage key, shape)."""
        out = b"\x80\x02}("
        for name, (key, shape) in tensors.items():
            size, strides = 1, []
            for n in reversed(shape):
                strides.insert(0, size)
                size *= n
            pid = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(size)
            pid += (b"N" if stream else b"") + b"tQ"
            grad = b"\x89ccollections\nOrderedDict\n)R"
            rebuild = b"(" + pid + number(0) + numbers(shape) + numbers(strides) + grad + b"tR"
            out += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + rebuild
        return out + b"u."

    @classmethod
    def torch_records(cls, values: Sequence[float] = (1.0, -2.0, 3.5), root: str = "archive") -> list[Rec]:
        data = struct.pack(f"<{len(values)}f", *values)
        return [
            Rec(f"{root}/data.pkl", cls.pickle({"w": ("0", (len(values),))})),
            Rec(f"{root}/data/0", data),
            Rec(f"{root}/version", b"3\n"),
        ]

    @classmethod
    def torch_zip(cls, values: Sequence[float] = (1.0, -2.0, 3.5)) -> bytes:
        records = cls.torch_records(values)
        return cls.zip64_end(cls.zip([cls.as_torch(rec.name, rec.data) for rec in records]))

    @classmethod
    def stream(cls, values: Sequence[float] = (1.0, -2.0, 3.5), *, little: bool = True, pickle: bytes = b"") -> bytes:
        facts = b"\x80\x02}(" + text("protocol_version") + b"M\xe9\x03" + text("little_endian")
        facts += (b"\x88" if little else b"\x89") + b"u."
        keys = b"\x80\x02](" + text("7") + b"e."
        raw = struct.pack("<q", len(values)) + struct.pack(f"<{len(values)}f", *values)
        found = pickle or cls.pickle({"w": ("7", (len(values),))}, stream=True)
        return cls.MAGIC + cls.VERSION + facts + found + keys + raw

    @staticmethod
    def torch_tar(values: Sequence[float] = (1.0, -2.0, 3.5), **members: bytes) -> bytes:
        head = b"\x80\x02(K\x07" + text("cpu") + b"ctorch\nFloatStorage\nt."
        raw = struct.pack("<q", len(values)) + struct.pack(f"<{len(values)}f", *values)
        tensor = b"\x80\x02(K\x09K\x07ctorch\nFloatTensor\nt." + struct.pack("<iiqqq", 1, 0, len(values), 1, 0)
        found = {
            "sys_info": b"\x80\x02}(" + text("little_endian") + b"\x88u.",
            "storages": b"\x80\x02K\x01." + head + raw + b"\x80\x02].",
            "tensors": b"\x80\x02K\x01." + tensor,
            "pickle": b"\x80\x02}(" + text("w") + text("9") + b"Qu.",
            **members,
        }
        return Make.tar((name, data) for name, data in found.items())

    @staticmethod
    def tar(members: Iterable[tuple[str, bytes]], **facts: Any) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=facts.pop("format", tarfile.USTAR_FORMAT)) as archive:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                for field, value in facts.items():
                    setattr(info, field, value)
                archive.addfile(info, io.BytesIO(data))
        return out.getvalue()


@pytest.fixture
def make() -> type[Make]:
    return Make


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real legacy files beside the repository, where there is one."""
    folder = Path(__file__).parents[2].parent / "shared" / "corpus"
    if not (folder / "INDEX.json").is_file():
        pytest.skip("no corpus of legacy files beside the repository (../shared/corpus)")
    return folder
