"""Files that torch's own restricted reader accepts give the same tensors here, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import blake3
import pytest

from ckptfmt.legacy import open as container
from ckptfmt.legacy.bytes.storages import LegacyTensor

pytest.importorskip("torch", reason="the oracle is torch")

# Torch runs in a process of its own: nothing of it may be in the one that reads.
ORACLE = """
import collections, json, sys
import blake3, torch

def layouts():
    whole = torch.arange(4 * 5 * 6, dtype=torch.float32).reshape(4, 5, 6)
    yield "plain", whole
    yield "transposed", whole.permute(2, 0, 1)
    yield "columns", whole[:, ::2, 1:]
    yield "offset", whole[2:]
    yield "expanded", whole[:1, :1].expand(3, 7, 6)
    yield "channels", torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    yield "scalar", torch.tensor(3.5)
    yield "empty", torch.zeros(0, 4)
    yield "nan", torch.tensor([0x7fc00001, -1, 0x7f800001], dtype=torch.int32).view(torch.float32)
    for name in sys.argv[2].split(","):
        dtype = getattr(torch, name)
        bits = torch.randint(0, 2 if dtype is torch.bool else 256, (96,), dtype=torch.uint8)
        yield name, (bits.bool() if dtype is torch.bool else bits.view(dtype))

def digest(tensor):
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return [list(tensor.shape), blake3.blake3(bytes(raw.tolist())).hexdigest()]

torch.manual_seed(1)
tensors = collections.OrderedDict(layouts())
tensors["parameter"] = torch.nn.Parameter(tensors["transposed"].clone())
tensors["tied"] = tensors["plain"]
for name, options in json.loads(sys.argv[3]).items():
    torch.save({"sd": tensors, "step": 3}, f"{sys.argv[1]}/{name}", **options)
first = f"{sys.argv[1]}/{next(iter(json.loads(sys.argv[3])))}"
read = torch.load(first, weights_only=True)["sd"]
print(json.dumps({name: digest(tensor) for name, tensor in read.items()}))
"""
DTYPES = (
    *("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "bfloat16"),
    *("float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"),
)
FILES: dict[str, dict[str, Any]] = {
    "zip.pt": {},
    "zip4.pt": {"pickle_protocol": 4},
    "zip5.pt": {"pickle_protocol": 5},
    "stream.pt": {"_use_new_zipfile_serialization": False},
    "stream4.pt": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
}


def test_tensors_are_those_that_torch_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-W", "ignore", "-c", ORACLE, str(tmp_path), ",".join(DTYPES), json.dumps(FILES)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    want = json.loads(done.stdout)
    assert len(want) == 11 + len(DTYPES)
    for name in FILES:
        with container.read(tmp_path / name) as opened:
            tensors: dict[str, LegacyTensor] = opened.members[""]["sd"]
            got = {key: [list(t.shape), blake3.blake3(t.read()).hexdigest()] for key, t in tensors.items()}
            assert tensors["tied"].identity == tensors["plain"].identity
        assert got == want
