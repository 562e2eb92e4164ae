"""Flip every bit of the manifest and of the weights, plain and compressed: `validate` and loading must each find it."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from ckptfmt.errors import CkptError
from ckptfmt.format.files import MANIFEST, WEIGHTS, compressed_name
from ckptfmt.look.validate import validate
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import Compression
from tests.faults.calls import Tally, nothing
from tests.faults.parallel import MEMORY, in_parallel
from tests.faults.scenarios import write

_PARTS = 16


def flip_bits(*, every: int = 1, breaking: Callable[[], None] = nothing) -> Tally:
    """Flip every `every`-th bit of a small checkpoint, one at a time."""
    jobs = [(part, every, breaking) for part in range(_PARTS)]
    tally = Tally()
    for one in in_parallel(_flip_part, jobs):
        tally.add(one)
    return tally


def _flip_part(part: int, every: int, breaking: Callable[[], None]) -> Tally:
    breaking()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="flips-", dir=MEMORY) as top:
        plain = Path(top) / "out"
        write(plain, 1, small=True)
        compressed = Path(top) / "compressed"
        write(compressed, 1, small=True, compression=Compression(least=-9.0))
        for path, name in ((plain, MANIFEST), (plain, WEIGHTS), (compressed, compressed_name(WEIGHTS))):
            good = (path / name).read_bytes()
            for bit in range(part * every, len(good) * 8, _PARTS * every):
                damaged = bytearray(good)
                damaged[bit // 8] ^= 1 << bit % 8
                (path / name).write_bytes(damaged)
                tally.faults += 1
                tally.states += 2
                tally.violations += _missed(path, f"bit {bit % 8} of byte {bit // 8} of {name}")
            (path / name).write_bytes(good)
            assert validate(path).valid
    return tally


def _missed(path: Path, bit: str) -> list[str]:
    ways = {"validate": _is_valid, "loading": _loads}
    return [f"{way} does not see {bit}" for way, sees_nothing in ways.items() if sees_nothing(path)]


def _is_valid(path: Path) -> bool:
    try:
        return validate(path).valid
    except CkptError:
        return False


def _loads(path: Path) -> bool:
    try:
        with Checkpoint(path) as checkpoint:
            for name in checkpoint.names():
                checkpoint.read(name)
    except CkptError:
        return False
    return True
