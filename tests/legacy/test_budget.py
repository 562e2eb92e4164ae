"""What reading may cost: honest amounts pass, the first one beyond each limit is refused with its sentence."""

import struct
from collections.abc import Callable

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.pickle.pickles import load

DOES = ", which no honest checkpoint does; nothing was run; get the weights from a source that you trust"


def long(size: int) -> bytes:
    return b"X" + struct.pack("<I", size) + b"a" * size


@pytest.mark.parametrize(
    ("unit", "fits", "tail", "said"),
    [
        (b"N0", 1_999_998, b"N.", "takes more than 4,000,000 steps"),
        (b"N", 1_000_000, b"", "keeps more than 1,000,000 objects on its stack"),
        (b"\x85", 199, b".", "holds an object nested more than 200 deep"),
        (b"\x94", 2_000_000, b".", "remembers more than 2,000,000 objects"),
    ],
    ids=["steps", "stack", "depth", "memo"],
)
def test_one_more_than_the_limit_is_refused(unit: bytes, fits: int, tail: bytes, said: str) -> None:
    head = b"\x80\x04" if unit.startswith(b"N") else b"\x80\x04N"
    if tail:
        load(head + unit * fits + tail)
    with pytest.raises(SourceError) as refusal:
        load(head + unit * (fits + 3) + (tail or b"."))
    assert str(refusal.value) == f"refused, its pickle {said}{DOES}"
    assert refusal.value.code == "source.limit"


def test_memo_slots_are_counted_up() -> None:
    load(b"\x80\x02Nq\x07q\x08q\x01h\x08h\x01\x87.")
    sparse = b"".join(b"r" + struct.pack("<I", 2 * i) for i in range(10_003))
    with pytest.raises(SourceError) as refusal:
        load(b"\x80\x02N" + sparse + b".")
    assert str(refusal.value) == f"refused, its pickle remembers objects under numbers that no pickler gives{DOES}"


def test_one_string_and_all_of_them_are_bounded() -> None:
    with pytest.raises(SourceError) as one:
        load(b"\x80\x04" + long((64 << 20) + 1) + b".")
    assert str(one.value) == f"refused, its pickle holds more than 64 MiB of text{DOES}"
    budget = Budget()
    data = b"\x80\x04" + long(60 << 20) + b"."
    for _ in range(4):
        load(data, budget=budget)
    with pytest.raises(SourceError) as many:
        load(data, budget=budget)
    assert str(many.value) == f"refused, its pickle holds more than 256 MiB of text{DOES}"


def test_honest_keys_of_every_kind_pass() -> None:
    keys = [2**40 + i for i in range(5000)] + [(i, "x") for i in range(5000)] + [i / 7 for i in range(5000)]  # type: ignore[operator]
    target: dict[object, object] = {}
    budget = Budget()
    for key in keys:
        budget.key(target, key)
        target[key] = None
    assert len(target) == 15000


def colliding(make: Callable[[int], object]) -> str:
    target: dict[object, object] = {}
    budget = Budget()
    for i in range(1, 33):
        budget.key(target, make(i))
        target[make(i)] = None
    with pytest.raises(SourceError) as refusal:
        budget.key(target, make(33))
    return str(refusal.value)


def test_keys_with_one_hash_are_refused_early() -> None:
    modulus = (1 << 61) - 1
    said = f"refused, its pickle holds a dictionary whose keys are made to be slow to look up{DOES}"
    assert colliding(lambda i: i * modulus) == said
    assert colliding(lambda i: (i * modulus, "x")) == said
    assert colliding(lambda i: complex(7 - 1000003 * i, i)) == said


def test_views_are_counted_once_and_bounded_together() -> None:
    storage = Storage("0", "F32", MemoryBlock(bytes(1024)))
    budget = Budget()
    for _ in range(100):
        budget.tensor(LegacyTensor("F32", (1 << 24,), (0,), 0, storage))
    budget.tensor(LegacyTensor("F32", (1 << 24,), (0,), 1, storage))
    with pytest.raises(SourceError) as refusal:
        budget.tensor(LegacyTensor("F32", (1 << 24,), (0,), 2, storage))
    assert str(refusal.value) == f"refused, its pickle views 1,024 bytes so often that they become 201,326,592{DOES}"
