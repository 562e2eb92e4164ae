"""Hostile files in the forms that agents are kept in, read in a process that limits itself.

python agents.py FOLDER [SCALE]    read each, SCALE times as large where size hurts; a line of JSON for each, its
                                   name and the code of its refusal; then the peak of memory in MiB and the seconds
"""

import io
import json
import pickle
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ckptfmt.convert.convert import convert
from ckptfmt.errors import CkptError

Files = dict[str, bytes]
SCALE = int(sys.argv[2]) if len(sys.argv) > 2 else 1


def zipped(members: Files, method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def torch_file(data: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    return zipped({"archive/data.pkl": data, "archive/version": b"3\n"}, method)


def deep(levels: int) -> bytes:
    """A pickle of lists in lists."""
    return b"\x80\x04" + b"]" * levels + b"a" * (levels - 1) + b"."


def call(name: str = "posix\nsystem", argument: str = "touch attacked") -> bytes:
    return b"\x80\x02c" + name.encode() + b"\nX" + struct.pack("<I", len(argument)) + argument.encode() + b"\x85R."


def instance(name: str, state: bytes) -> bytes:
    """A pickle of an instance of a class, of which the state is another pickle without its frame."""
    return b"\x80\x02c" + name.encode() + b"\n)\x81" + state + b"b."


def nested_tensordict(levels: int) -> bytes:
    state = b"}"
    for _ in range(levels):
        state = b"}X\x0b\x00\x00\x00_tensordict}X\x01\x00\x00\x00actensordict._td\nTensorDict\n)\x81" + state + b"bss"
    return b"\x80\x02ctensordict._td\nTensorDict\n)\x81" + state + b"b."


def many(count: int) -> bytes:
    return pickle.dumps({f"k{i}": {"weight": i} for i in range(count)}, 4)


def lying_array() -> bytes:
    """An array of NumPy that says it is larger than its bytes."""
    import numpy as np

    return pickle.dumps({"w": np.ones((4, 4), "f4")}, 4).replace(b"K\x04K\x04\x86", b"K\x09K\x09\x86")


def shard(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def d3(data: bytes, config: str = "{}") -> tuple[str, Files]:
    return "model.d3", {"model.d3": pickle.dumps({"torch": data, "config": config}, 4)}


FLOAT = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
# What any pickle may do, in each place where a library keeps one.
PICKLES: dict[str, Callable[[], bytes]] = {
    "call": call,
    "deep": lambda: deep(5_000 * SCALE),
    "lie": lying_array,
    "count": lambda: many(2_000 * SCALE),
    "cut": lambda: many(10)[:-4],
    "bomb": lambda: b"\x80\x04]" + b"\x94" + b"(h\x00h\x00h\x00h\x00e" * 2_000 * SCALE + b".",
}
PLACES: dict[str, Callable[[bytes], tuple[str, Files]]] = {
    "rllib-old": lambda data: ("", {"rllib_checkpoint.json": b"{}", "policies/a/policy_state.pkl": data}),
    "rllib-new": lambda data: ("", {
        "rllib_checkpoint.json": b"{}", "learner_group/learner/rl_module/a/module_state.pkl": data}),
    "rllib-worker": lambda data: ("algorithm_state.pkl", {"algorithm_state.pkl": pickle.dumps({"worker": data}, 4)}),
    "paddle": lambda data: ("model.pdparams", {"model.pdparams": data}),
    "d3": lambda data: d3(torch_file(data)),
    "tensordict": lambda data: ("td.pt", {"td.pt": torch_file(data)}),
}  # fmt: skip


def index(**weights: str) -> bytes:
    return json.dumps({"weight_map": weights}).encode()


def sharded(first: bytes, second: bytes, listed: bytes) -> tuple[str, Files]:
    return INDEX, {ONE: first, TWO: second, INDEX: listed}


GOOD = shard({"a": FLOAT}, bytes(8))
OTHER: dict[str, Callable[[], tuple[str, Files]]] = {
    "d3-bomb": lambda: d3(torch_file(bytes(SCALE * 80 << 20), zipfile.ZIP_DEFLATED)),
    "d3-in-d3": lambda: d3(torch_file(pickle.dumps({"torch": torch_file(call()), "config": "{}"}, 2))),
    "d3-config": lambda: d3(torch_file(many(2)), "[" * 10_000 * SCALE),
    "tensordict-deep": lambda: ("td.pt", {"td.pt": torch_file(nested_tensordict(2_000 * SCALE))}),
    "tensordict-call": lambda: ("td.pt", {"td.pt": torch_file(instance("tensordict._td\nTensorDict", call()[2:-1]))}),
    "rllib-none": lambda: ("", {"rllib_checkpoint.json": b"{}"}),
    "rllib-many": lambda: ("", {"rllib_checkpoint.json": b"{}",
                                **{f"policies/p{i}/policy_state.pkl": b"\x80\x04}." for i in range(300)}}),
    "rllib-text": lambda: ("", {"rllib_checkpoint.json": b"[" * 1_000_000, "policy_state.pkl": b"hello"}),
    "shard-overlap": lambda: sharded(
        shard({"a": FLOAT, "c": FLOAT}, bytes(8)), shard({"b": FLOAT}, bytes(8)), index(a=ONE, c=ONE, b=TWO)),
    "shard-beyond": lambda: sharded(
        shard({"a": {**FLOAT, "data_offsets": [0, 1 << 40]}}, bytes(8)), GOOD, index(a=ONE, b=TWO)),
    "shard-hidden": lambda: sharded(GOOD, shard({"b": FLOAT, "x": {**FLOAT, "data_offsets": [8, 16]}}, bytes(16)),
                                    index(a=ONE, b=TWO)),
    "shard-twice": lambda: sharded(GOOD, GOOD, index(a=ONE)[:-2] + b', "a": "%s"}}' % TWO.encode()),
    "shard-outside": lambda: sharded(GOOD, GOOD, index(a=ONE, b="../" + TWO)),
    "shard-of-itself": lambda: sharded(GOOD, GOOD, index(a=ONE, b=INDEX)),
    "shard-deep": lambda: sharded(GOOD, GOOD, b'{"weight_map": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "shard-large": lambda: sharded(GOOD, GOOD, b'{"weight_map": {"a": "' + b"x" * (20 << 20) + b'"}}'),
    "shard-count": lambda: sharded(GOOD, GOOD, index(**{f"t{i}": f"f{i}" for i in range(50_000)})),
    "shard-pickle": lambda: ("pytorch_model.bin.index.json", {
        "pytorch_model-00001-of-00001.bin": torch_file(call()),
        "pytorch_model.bin.index.json": index(a="pytorch_model-00001-of-00001.bin")}),
}  # fmt: skip


def cases() -> Iterator[tuple[str, str, Files]]:
    """Yield the name of each, what is given of it ("" for the folder), and its files."""
    for place, make in PLACES.items():
        for attack, data in PICKLES.items():
            yield f"{place} {attack}", *make(data())
    for name, build in OTHER.items():
        yield name, *build()


def main(folder: Path) -> None:
    for name, given, files in cases():
        place = folder / name.replace(" ", "-")
        for path, data in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
        try:
            found: object = convert(place / given, folder / "out" / place.name, dry_run=True).architecture
        except CkptError as e:
            found = e.code
        print(json.dumps([name, found]), flush=True)
    # What getrusage says includes the parent's.
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps([peak >> 10, time.process_time()]))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    main(Path(sys.argv[1]))
