"""What is fuzzed, and what must hold for any bytes whatever.

Only the errors of the package come out of it; nothing is imported, compiled, executed or started on the way; no
input of up to a megabyte takes five seconds or 300 MB; nothing is left on the disk but a whole checkpoint.
"""

import bz2
import gzip
import importlib.util
import lzma
import os
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ckptfmt.convert.convert import convert
from ckptfmt.errors import CkptError
from ckptfmt.families.evidence import Facts
from ckptfmt.families.tell import classify
from ckptfmt.format.jsontext import parse
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.safetensors import build_header, parse_header
from ckptfmt.legacy.find.find import find_networks
from ckptfmt.legacy.open import read
from ckptfmt.legacy.pickle import pickles
from ckptfmt.store.checkpoint import Checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS, MEGABYTES = 5.0, 300
WATCHED = ("import", "exec", "compile", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.",
           "ctypes.", "socket.", "pickle.", "marshal.", "code.", "webbrowser.")  # fmt: skip


class Broken(BaseException):
    """Raised for an input that breaks a promise; no handler of the package catches it."""


@dataclass
class Guard:
    """Watches one run after another; `armed` while an input is looked at."""

    armed: bool = False
    reached: list[str] = field(default_factory=list)

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if self.armed and event.startswith(WATCHED):
            self.reached.append(f"{event} {args[:1]!r}"[:200])

    def check(self, target: Callable[[bytes], object], data: bytes) -> bool:
        """Return whether the target accepted `data`; raise `Broken` where a promise is broken."""
        before, started = _peak(), time.process_time()
        self.reached.clear()
        self.armed = True
        try:
            target(data)
            accepted = True
        except CkptError as e:
            accepted = False
            if e.code == "source.unforeseen" or "\n" in str(e) or "\x1b" in str(e):
                raise Broken(f"{e.code}: {e!s}") from e
        finally:
            self.armed = False
        if self.reached:
            raise Broken(f"reached {self.reached}")
        if (spent := time.process_time() - started) > SECONDS:
            raise Broken(f"took {spent:.1f} s")
        if (grown := _peak() - before) > MEGABYTES:
            raise Broken(f"took {grown} MB")
        return accepted


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _workplace() -> Path:
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="ckptfmt-fuzz-", dir=memory if memory.is_dir() else None))


WORK = _workplace()


def in_file(data: bytes) -> None:
    """Any file: read, found, classified; converted where it can be."""
    source, dest = WORK / "model", WORK / "out"
    source.write_bytes(data)
    try:
        with read(source) as opened:
            for network in find_networks(opened.members):
                shapes = {name: tensor.shape for name, tensor in network.tensors.items()}
                classify(shapes, context=network.context, wiring=network.wiring, facts=Facts(n_action=4))
        convert(source, dest)
        with Checkpoint(dest) as checkpoint:
            for name in checkpoint.names():
                checkpoint.read(name)
        shutil.rmtree(dest)
    finally:
        source.unlink()
        if left := os.listdir(WORK):
            shutil.rmtree(WORK)
            WORK.mkdir()
            raise Broken(f"left {left}")


def in_archive(data: bytes) -> None:
    """The pickle of an archive that is right in all else."""
    make = builders().Make
    storages = [make.Rec(f"archive/data/{key}", bytes(size)) for key, size in (("0", 12), ("1", 64), ("2", 4096))]
    in_file(make.zip([make.Rec("archive/data.pkl", data), *storages, make.Rec("archive/version", b"3\n")]))


def in_pickle(data: bytes) -> None:
    """Opcodes, refusals turned into placeholders, so that more is reached."""
    pickles.load(data, persistent=lambda pid: None, allow_unsafe=True)


def in_header(data: bytes) -> None:
    """The JSON of a safetensors header, with its length and enough data behind it."""
    whole = struct.pack("<Q", len(data)) + data + bytes(64)
    parse_header(lambda at, size: whole[at : at + size], len(whole), where="model.safetensors")


def in_json(data: bytes) -> None:
    """Strict JSON."""
    parse(data, where="manifest.json", limit=1 << 20)


def in_manifest(data: bytes) -> None:
    """The manifest of a checkpoint."""
    parse_manifest(data, where="manifest.json")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "file": in_file,
    "archive": in_archive,
    "pickle": in_pickle,
    "header": in_header,
    "json": in_json,
    "manifest": in_manifest,
}


def builders() -> ModuleType:
    """Return the module that builds small files of every container."""
    name = "ckptfmt_small_files"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "legacy" / "conftest.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def seeds(target: str) -> list[bytes]:
    """Return inputs to begin with: honest ones, and the hostile ones that were found before."""

    def files(pattern: str) -> list[Path]:
        return [path for path in sorted((ROOT / "fixtures").glob(pattern)) if path.is_file()]

    hostile = [path.read_bytes() for path in files("hostile/*/case.*")]
    if target == "file":
        return [*_containers(), *(data for data in hostile if len(data) < 1 << 16)]
    if target in ("pickle", "archive"):
        make = builders().Make
        small = {"conv.weight": ("0", (1, 3, 1, 1)), "fc.weight": ("1", (4, 4)), "fc.bias": ("2", (1024,))}
        return [make.pickle(small), make.pickle(small, stream=True), *(data for data in hostile if data[:1] == b"\x80")]
    manifests = [path.read_bytes() for path in files("*valid/*/**/manifest.json")]
    headers = [_header(path) for path in files("*valid/*/**/weights.safetensors")]
    return {"manifest": manifests, "header": headers, "json": manifests + headers}[target]


def _header(path: Path) -> bytes:
    data = path.read_bytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _containers() -> list[bytes]:
    make = builders().Make
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", 59) + b"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n"
    header, _ = build_header([("w", "F32", (2,)), ("n", "I64", ())], {"note": "x"})
    plain = make.torch_records()
    return [
        make.torch_zip(),
        make.zip([make.Rec(rec.name, rec.data, method=8) for rec in plain]),
        make.zip([*plain, make.Rec("archive/constants.pkl", b"x")]),
        make.zip([make.Rec("data", b"{}"), make.Rec("policy.pth", make.torch_zip())]),
        make.zip([make.Rec("w.npy", npy + bytes(16))]),
        make.stream(),
        make.torch_tar(),
        make.tar([("a.txt", b"x"), ("b.pth", make.torch_zip())], format=2),
        gzip.compress(make.torch_zip()),
        bz2.compress(make.stream()),
        lzma.compress(make.torch_zip()),
        header + struct.pack("<q2f", 9, 1, 2),
    ]
