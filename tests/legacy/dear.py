"""Small files that are cheap to write and were dear to read, looked at and converted in a process that limits itself.

python dear.py                    the names
python dear.py NAME FOLDER        look at it and convert it in at most 10 s of processor time; print the peak of memory
"""

import json
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ckptfmt.convert.convert import convert
from ckptfmt.errors import CkptError
from ckptfmt.look.anatomy import summarize_source

STORED = 250_000


class Named:
    """A name, a call of it (`args`) or an instance of it (`state`)."""

    def __init__(self, name: str, args: tuple[Any, ...] | None = None, state: Any = None) -> None:
        self.name, self.args, self.state = name, args, state


class View:
    """A tensor of the one storage."""

    def __init__(self, *shape: int, strides: tuple[int, ...] | None = None, offset: int = 0) -> None:
        sizes = [1]
        for n in reversed(shape):
            sizes.insert(0, sizes[0] * n)
        self.shape, self.strides, self.offset = shape, strides or tuple(sizes[1:]), offset


class Raw(bytes):
    """Opcodes as they are."""


class Pickler:
    """A pickler of protocol 4 that remembers whatever it wrote, texts too."""

    def __init__(self) -> None:
        self.out = bytearray(b"\x80\x04")
        self.memo: dict[Any, int] = {}
        self.kept: list[Any] = []

    def dumps(self, value: Any) -> bytes:
        self.save(value)
        return bytes(self.out + b".")

    def save(self, value: Any) -> None:
        key = value if isinstance(value, str) else id(value)
        if key in self.memo:
            self.out += b"j" + struct.pack("<I", self.memo[key])
            return
        match value:
            case Raw():
                self.out += value
            case None | bool():
                self.out += {None: b"N", True: b"\x88", False: b"\x89"}[value]
            case int():
                data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                self.out += b"\x8b" + struct.pack("<i", len(data)) + data
            case str():
                self.out += b"X" + struct.pack("<I", len(value.encode())) + value.encode()
                self.remember(key)
            case bytes():
                self.out += b"B" + struct.pack("<I", len(value)) + value
            case dict():
                self.out += b"}"
                self.remember(key)
                self.group([part for pair in value.items() for part in pair], b"u")
            case list():
                self.out += b"]"
                self.remember(key)
                self.group(value, b"e")
            case tuple():
                self.group(value, b"t")
                self.remember(key)
            case View():
                self.view(value)
                self.remember(key)
            case Named():
                self.named(value)
        self.kept.append(value)

    def remember(self, key: Any) -> None:
        self.memo[key] = len(self.memo)
        self.out += b"\x94"

    def group(self, values: Any, end: bytes) -> None:
        self.out += b"("
        for value in values:
            self.save(value)
        self.out += end

    def named(self, value: Named) -> None:
        module, _, name = value.name.rpartition(".")
        self.out += f"c{module}\n{name}\n".encode()
        if value.state is not None:
            self.out += b")\x81"
            self.remember(id(value))
            self.save(value.state)
            self.out += b"b"
        elif value.args is not None:
            self.group(value.args, b"tR")
            self.remember(id(value))

    def view(self, value: View) -> None:
        self.out += b"ctorch._utils\n_rebuild_tensor_v2\n(("
        for part in ("storage", Named("torch.FloatStorage"), "0", "cpu", STORED):
            self.save(part)
        self.out += b"tQ"
        self.save(value.offset)
        self.group(value.shape, b"t")
        self.group(value.strides, b"t")
        self.out += b"\x89ccollections\nOrderedDict\n)RtR"


def archive(value: Any) -> bytes:
    """A torch zip of deflated records."""
    sys.setrecursionlimit(10_000)
    out, central = bytearray(), bytearray()
    records = {"data.pkl": Pickler().dumps(value), "data/0": bytes(4 * STORED), "version": b"3\n"}
    for name, data in records.items():
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(data) + packer.flush()
        path = f"archive/{name}".encode()
        facts = struct.pack("<5H3L2H", 20, 0, 8, 0, 0, zlib.crc32(data), len(packed), len(data), len(path), 0)
        central += b"PK\x01\x02\x14\0" + facts + struct.pack("<3H2L", 0, 0, 0, 0, len(out)) + path
        out += b"PK\x03\x04" + facts + path + packed
    end = struct.pack("<4H2LH", 0, 0, len(records), len(records), len(central), len(out), 0)
    return bytes(out + central + b"PK\x05\x06" + end)


def nested(key: str, depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = {key: leaf}
    return leaf


def often(times: int, depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = [leaf] * times
    return leaf


def layer(kind: str, *shape: int, inside: dict[str, Any] | None = None, **more: Any) -> Named:
    held = {"weight": View(*shape)} if shape else {}
    state = {"training": True, "_parameters": held, "_buffers": {}, "_modules": inside or {}, **more}
    return Named(f"torch.nn.modules.{kind}", state=state)


def networks(count: int) -> dict[str, Any]:
    return {
        f"net{i}": {"conv.weight": View(8, 4, 3, 3, offset=i), "fc.weight": View(8, 8, offset=i)} for i in range(count)
    }


CONV = {"kernel_size": (3, 3), "stride": (1, 1), "padding": (0, 0), "groups": 1}
DEAR: dict[str, Callable[[], Any]] = {
    "long-keys": lambda: nested("k" * 60_000, 190, {f"w{i}": View(8, 8, offset=i) for i in range(2000)}),
    "long-keys-of-an-optimizer": lambda: {
        **networks(1),
        "optimizer": {"param_groups": [], "state": nested("k" * 60_000, 150, [1] * 100_000)},
    },
    "long-keys-of-what-is-dropped": lambda: {**networks(1), "info": nested("k" * 60_000, 20, [b"x"] * 9000)},
    "a-long-key-of-many-lists": lambda: {**networks(1), "x": {"k" * 10_000_000: [[[1]] for _ in range(4000)]}},
    "shared-lists-as-sets": lambda: {**networks(1), "x": [Named("builtins.set", (FEW,)) for _ in range(120)]},
    "shared-pairs-as-dicts": lambda: {
        **networks(1),
        "x": [Named("collections.OrderedDict", (PAIRS,)) for _ in range(120)],
    },
    "shared-lists-written-out": lambda: {**networks(1), "x": often(20, 4, [1] * 40)},
    "shared-modules": lambda: layer(
        "container.Sequential",
        inside={
            str(i): layer("container.Sequential", inside=dict.fromkeys(map(str, range(300)), LINEAR)) for i in range(30)
        },
    ),
    "facts-beside-many-networks": lambda: {"f": {str(i): NUMBERS for i in range(800)}, **networks(250)},
    "names-beside-many-networks": lambda: {f"model name {i}": f"actor{i}" for i in range(50_000)} | networks(250),
    "strangers-beside-many-networks": lambda: {f"f{i}": b"x" for i in range(50_000)} | networks(250),
    "long-names-of-many-networks": lambda: {"aB1_" * 15_000: networks(100)},
    "modules-beside-many-networks": lambda: layer(
        "container.Sequential",
        inside={f"net{i}": layer("container.Sequential", inside={"a": LINEAR, "b": CONVOLUTION}) for i in range(150)}
        | {f"r{i}": layer("activation.ReLU") for i in range(6_000)},
    ),
    "hidden-buffers": lambda: Named(
        "agent.Net",
        state={
            "_parameters": {"w": View(4, 4)},
            "_buffers": {f"b{i}": View(2, offset=i) for i in range(6000)},
            "_modules": {},
            "_non_persistent_buffers_set": [f"c{i}" for i in range(6000)],
        },
    ),
    "escapes": lambda: {**networks(1), "x": Raw(b"S'" + b"\\'" * 15_000_000 + b"'\n")},
    "shown-objects": lambda: layer(
        "container.Sequential",
        inside={"c": layer("conv.Conv2d", 4, 4, 3, 3, **CONV, dilation=often(85, 2, [1] * 1000)), "d": LINEAR},
    ),
    "shown-version": lambda: {**networks(1), "model_config": {"n_action": 4}, "version": often(85, 2, [1] * 1000)},
    "offsets-far-apart": lambda: {f"w{i}": View(3, strides=(120_000,), offset=i) for i in range(3000)},
    "zeros-of-one-tensor": lambda: {f"l{i}.weight": ROWS for i in range(5000)},
}
FEW = [*range(30_000)]
NUMBERS = [*range(9000)]
PAIRS = [(f"k{i}", 1) for i in range(30_000)]
ROWS = View(250_000, 1)
LINEAR = layer("linear.Linear", 8, 8)
CONVOLUTION = layer("conv.Conv2d", 4, 4, 3, 3, **CONV, dilation=(1, 1))


def main(name: str, folder: Path) -> None:
    file = folder / "case.pth"
    file.write_bytes(archive(DEAR[name]()))
    # What making the file took is no part of what reading it takes.
    Path("/proc/self/clear_refs").write_text("5")
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 10, -1))
    said = []
    for work in (lambda: summarize_source(file), lambda: convert(file, folder / "out", architecture="none")):
        try:
            work()
        except CkptError as e:
            said.append(e.code)
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps({"bytes": file.stat().st_size, "peak_mb": peak >> 10, "said": said}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 1 else print(*DEAR)
