"""A megabyte each of what is cheap to write and could be dear to read, read in a process that limits itself.

python bombs.py             the names
python bombs.py NAME        read it in at most 5 s of processor time, print its size and the peak of memory
"""

import json
import random
import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage, storage_id
from ckptfmt.legacy.pickle.pickles import load

SIZE = 1_000_000
HEAD = b"\x80\x04"
MODULUS = (1 << 61) - 1
AGENT = b"cagent\nAgent\nq\x000"
STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\x00\x00\x08\x00tQq\x010"
)
REBUILD = b"ctorch._utils\n_rebuild_tensor\nq\x000"
STORED = 512 << 10


def filled(unit: bytes, head: bytes = b"](", tail: bytes = b"e.") -> bytes:
    return HEAD + head + unit * ((SIZE - len(HEAD + head + tail)) // len(unit)) + tail


def integer(value: int) -> bytes:
    data = value.to_bytes(10, "little", signed=True)
    return b"\x8a\x0a" + data


def keyed(keys: Callable[[int], int], count: int = 70_000) -> bytes:
    return HEAD + b"}(" + b"".join(integer(keys(i)) + b"N" for i in range(count)) + b"u."


def repeated(function: bytes, argument: bytes, times: int) -> bytes:
    return HEAD + function + b"q\x000(" + argument + b"tq\x010" + b"h\x00h\x01R0" * times + b"N."


def view(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    return b"h\x00(h\x01" + b"J" + struct.pack("<i", offset) + numbers(shape) + numbers(strides) + b"tR"


def views(count: int, make: Callable[[int], bytes]) -> bytes:
    return HEAD + REBUILD + STORAGE + b"](" + b"".join(make(i) for i in range(count)) + b"e."


def shuffled_bits(seed: int) -> bytes:
    """A view of 2^19 bytes whose nineteen dimensions of length two lie in any order: no run is longer than two."""
    strides = [1 << bit for bit in range(19)]
    random.Random(seed).shuffle(strides)
    return view((2,) * 19, tuple(strides))


BOMBS: dict[str, Callable[[], bytes]] = {
    "dicts": lambda: filled(b"}"),
    "lists": lambda: filled(b"]"),
    "sets": lambda: filled(b"\x8f"),
    "tuples": lambda: filled(b"N\x85"),
    "tuples-in-tuples": lambda: filled(b"\x85", b"N", b"."),
    "lists-in-lists": lambda: HEAD + b"]" * 500_000 + b"a" * 499_990 + b".",
    "memo": lambda: filled(b"}\x94"),
    "memo-slots": lambda: HEAD + b"N" + b"".join(b"r" + struct.pack("<I", i * 7919) for i in range(199_000)) + b".",
    "memo-slots-of-one-hash": lambda: HEAD + b"N" + b"".join(b"p%d\n" % (i * MODULUS) for i in range(40_000)) + b".",
    "marks": lambda: filled(b"(", b"", b"."),
    "marks-and-pops": lambda: filled(b"(1", b"N", b"."),
    "instances": lambda: filled(b"h\x00)\x81", AGENT + b"]("),
    "instances-with-states": lambda: filled(b"h\x00)\x81}b", AGENT + b"]("),
    "instances-with-items": lambda: filled(b"h\x00)\x81NaNNs", AGENT + b"]("),
    "calls": lambda: filled(b"h\x00)R", AGENT + b"]("),
    "calls-of-calls": lambda: filled(b")R", AGENT + b"h\x00", b"."),
    "many-calls-of-calls": lambda: filled(b"h\x00" + b")R" * 500, AGENT + b"]("),
    "ordered": lambda: filled(b"h\x00)R", b"ccollections\nOrderedDict\nq\x000]("),
    "names": lambda: HEAD + b"](" + b"".join(b"cagent\nA%d\n" % i for i in range(70_000)) + b"e.",
    "floats": lambda: filled(b"F1e5\n"),
    "integers": lambda: filled(b"J\xff\xff\xff\x7f"),
    "escapes": lambda: HEAD + b"S'" + b"\\x41" * 249_000 + b"'\n.",
    "shared-pairs": lambda: HEAD + b"N" + b"2\x86" * 150 + b".",
    "shared-text": lambda: (
        HEAD + b"X" + struct.pack("<I", 600_000) + b"a" * 600_000 + b"q\x000](" + b"h\x00" * 190_000 + b"e."
    ),
    "equal-hashes": lambda: keyed(lambda i: i * MODULUS),
    "many-integer-keys": lambda: keyed(lambda i: random.Random(i).getrandbits(70)),
    "shared-pairs-as-key": lambda: HEAD + b"}N" + b"2\x86" * 60 + b"Ns.",
    "encode-again": lambda: repeated(
        b"c_codecs\nencode\n", b"X" + struct.pack("<I", 500_000) + b"a" * 500_000 + b"X\x06\x00\x00\x00latin1", 80_000
    ),
    "set-again": lambda: repeated(b"cbuiltins\nset\n", b"](" + b"N" * 300_000 + b"e", 100_000),
    "ordered-again": lambda: repeated(b"ccollections\nOrderedDict\n", b"](" + b"K\x01N\x86" * 80_000 + b"e", 100_000),
    "counter-again": lambda: repeated(b"ccollections\nCounter\n", keyed(lambda i: i << 30, 40_000)[2:-1], 80_000),
    "views-of-nothing": lambda: views(12_000, lambda i: view((1 << 20,), (0,), i)),
    "views-that-overlap": lambda: views(12_000, lambda i: view((1 << 18,), (1,), i)),
    "views-in-any-order": lambda: views(4_500, shuffled_bits),
}


def storage(pid: object) -> Storage:
    stated = storage_id(pid)
    return KNOWN.setdefault(stated.key, Storage(stated.key, stated.dtype, MemoryBlock(bytes(STORED))))


KNOWN: dict[str, Storage] = {}


def consume(value: object) -> None:
    """Write out every tensor, as a conversion does."""
    for tensor in value if isinstance(value, list) else ():
        if isinstance(tensor, LegacyTensor):
            for _ in tensor.chunks():
                pass


def main(name: str) -> None:
    data = BOMBS[name]()
    resource.setrlimit(resource.RLIMIT_CPU, (int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 5, -1))
    try:
        consume(load(data, persistent=storage).value)
        said = ""
    except SourceError as e:
        said = str(e)
    print(json.dumps({"bytes": len(data), "peak_mb": peak() >> 10, "said": said}))


def peak() -> int:
    """Return the most memory this process held, in KiB; what getrusage says includes the parent's."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) > 1 else print(*BOMBS)
