"""Strike at several processes that save together: one dies, stalls or has no space, or the target is taken.

The processes are real and talk over sockets, through this one, which sees every step and strikes between two of them.
"""

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ckptfmt.errors import CkptError, WriteError
from ckptfmt.format.tensors import Part
from ckptfmt.look.validate import validate
from ckptfmt.store import slices
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.clean import clean
from ckptfmt.store.save import write
from ckptfmt.store.write.place import Place
from tests.faults.calls import Tally, nothing
from tests.faults.parallel import MEMORY

RANKS = 4
# The steps of a save: what each rank has done when it tells the others.
STEPS = ("give its tensors", "begin", "write", "read back", "publish")
# Ranks wait for so long for one that says nothing; whatever happens, all have ended a little later.
PATIENCE = 1.0
_LATE = 5.0
_SIZE = 8
# What a process says last begins so.
_LAST = b"\0"


class Wire:
    """The peers of one process: a socket to the process that strikes."""

    def __init__(self, rank: int, end: socket.socket) -> None:
        self.rank, self.size, self._end = rank, RANKS, end
        end.settimeout(PATIENCE)

    def pieces(self, tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        return tensors

    def exchange(self, message: bytes) -> list[bytes]:
        try:
            _send(self._end, message)
            return [bytes.fromhex(part) for part in json.loads(_receive(self._end))]
        except OSError:
            raise WriteError("a rank did not answer", code="write.silent-rank") from None


def _send(end: socket.socket, data: bytes) -> None:
    end.sendall(len(data).to_bytes(_SIZE, "little") + data)


def _receive(end: socket.socket) -> bytes:
    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (part := end.recv(count - len(data))):
                raise ConnectionError
            data += part
        return data

    return exactly(int.from_bytes(exactly(_SIZE), "little"))


def tensors(rank: int, generation: int) -> dict[str, Any]:
    """What a rank holds: uneven slices, one that spans nobody else, and what all have alike."""
    rows = np.arange(10 * 6, dtype="<f4").reshape(10, 6) + generation
    begin, end = (0, 4, 7, 8, 10)[rank : rank + 2]
    columns = np.arange(12, dtype="<i8").reshape(3, 4) + generation
    return {
        "rows": Part(rows[begin:end], rows.shape, (begin, 0)),
        "columns": Part(columns[:, rank : rank + 1], columns.shape, (0, rank)),
        "alike": np.full(5, generation, "<f4"),
    }


@dataclass(slots=True)
class Group:
    """The processes of one save, and how each of them ended."""

    folder: Path
    pids: list[int] = field(default_factory=list)
    ends: list[socket.socket] = field(default_factory=list)
    said: dict[int, str] = field(default_factory=dict)
    struck: set[int] = field(default_factory=set)


def save_together(
    target: Path, generation: int, *, strike: Callable[[Group, int], None] = lambda group, step: None,
    within: Mapping[int, Callable[[], None]] | None = None, overwrite: bool = False,
) -> Group:  # fmt: skip
    """Let all ranks save one checkpoint; `strike` is called once all have done a step, before they hear of it."""
    group = Group(target.parent)
    for rank in range(RANKS):
        mine, theirs = socket.socketpair()
        if (pid := os.fork()) == 0:
            for end in group.ends:
                end.close()
            mine.close()
            _child(rank, theirs, target, generation, (within or {}).get(rank, nothing), overwrite)
        theirs.close()
        group.pids.append(pid)
        group.ends.append(mine)
    for step in range(len(STEPS)):
        told = _collect(group)
        strike(group, step)
        if len(told) < RANKS:
            break
        answer = json.dumps([told[rank].hex() for rank in range(RANKS)]).encode()
        for rank, end in enumerate(group.ends):
            if rank not in group.struck:
                with contextlib.suppress(OSError):
                    _send(end, answer)
    _finish(group)
    return group


def _collect(group: Group) -> dict[int, bytes]:
    """Return what the ranks said, as far as they did within their patience."""
    told: dict[int, bytes] = {}
    deadline = time.monotonic() + PATIENCE
    while len(told) < RANKS and (left := deadline - time.monotonic()) > 0:
        waiting = [end for rank, end in enumerate(group.ends) if rank not in told and rank not in group.struck]
        ready, _, _ = select.select(waiting, [], [], left) if waiting else ([], [], [])
        if not ready:
            break
        for end in ready:
            rank = group.ends.index(end)
            try:
                data = _receive(end)
            except OSError:
                return told
            if data.startswith(_LAST):
                group.said[rank] = data.removeprefix(_LAST).decode()
                return told
            told[rank] = data
    return told


def _finish(group: Group) -> None:
    """Wait until all have ended that were not stopped, and note what each said last."""
    deadline = time.monotonic() + PATIENCE + _LATE
    for rank, pid in enumerate(group.pids):
        if rank in group.struck:
            continue
        if not _ended(pid, deadline):
            group.said[rank] = "hung"
        else:
            group.ends[rank].settimeout(0.5)
            with contextlib.suppress(OSError):
                while rank not in group.said:
                    if (data := _receive(group.ends[rank])).startswith(_LAST):
                        group.said[rank] = data.removeprefix(_LAST).decode()


def _ended(pid: int, deadline: float) -> bool:
    """Wait for a process; one that has not ended by the deadline is killed."""
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return False
        time.sleep(0.002)
    return True


def _child(
    rank: int, end: socket.socket, target: Path, generation: int, within: Callable[[], None], overwrite: bool
) -> None:
    code = 0
    try:
        within()
        write(target, tensors(rank, generation), overwrite=overwrite, peers=Wire(rank, end))
        said = "saved"
    except CkptError as e:
        said, code = f"{e.code} {e.what}", 1
    except BaseException:
        said, code = f"traceback {traceback.format_exc()}", 2
    with contextlib.suppress(OSError):
        _send(end, _LAST + said.encode())
    os._exit(code)


def kill(group: Group, rank: int) -> None:
    """Kill a rank, as the kernel does where memory is short."""
    os.kill(group.pids[rank], signal.SIGKILL)
    os.waitpid(group.pids[rank], 0)
    group.struck.add(rank)


def stall(group: Group, rank: int) -> None:
    """Stop a rank for longer than the others wait."""
    os.kill(group.pids[rank], signal.SIGSTOP)
    group.struck.add(rank)


def damage(group: Group, step: int) -> None:
    """Flip a bit of a slice that was written, read back and flushed by its rank."""
    if STEPS[step] == "write":
        (part,) = group.folder.glob(".*.ckpt-stage-*/weights-00002-of-00004.safetensors")
        data = bytearray(part.read_bytes())
        data[-1] ^= 1
        part.write_bytes(data)


def wake(group: Group) -> None:
    """Let those that were stopped go on, and wait until they end."""
    for rank in group.struck:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(group.pids[rank], signal.SIGCONT)
            if not _ended(group.pids[rank], time.monotonic() + PATIENCE + _LATE):
                group.said[rank] = "hung"


def no_space() -> None:
    """Let no file grow beyond a few bytes: the kernel refuses the rest."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))


def generation_of(target: Path) -> int | None:
    """Return which checkpoint lies at the target, None for none; raise where it is not whole."""
    if not target.exists():
        return None
    report = validate(target)
    if not report.valid:
        raise AssertionError(f"not valid: {report.problems}")
    with Checkpoint(target) as checkpoint:
        found = int(checkpoint.tensors["alike"][0])
        for name, expected in _whole(found).items():
            if not np.array_equal(checkpoint.tensors[name], expected):
                raise AssertionError(f"{name} is not that of one save")
    return found


def _whole(generation: int) -> dict[str, Any]:
    rows = np.arange(10 * 6, dtype="<f4").reshape(10, 6) + generation
    return {"rows": rows, "columns": np.arange(12, dtype="<i8").reshape(3, 4) + generation}


def strike_ranks(*, short: bool = False, only: str = "", breaking: Callable[[], None] = nothing) -> Tally:
    """Kill and stall each rank after each step, for a new checkpoint and for one that replaces another.

    `only` what is called so is done.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="ranks-", dir=MEMORY) as top:
        for number, (way, step, rank, old) in enumerate(_strikes(short)):
            what = f"{way.__name__} rank {rank} after '{STEPS[step]}'"
            if only not in what:
                continue
            with _place(Path(top) / str(number), tally, what) as target:
                if old:
                    save_together(target, 1)
                group = save_together(
                    target, 2, overwrite=old, within=dict.fromkeys(range(RANKS), breaking),
                    strike=lambda group, at, way=way, step=step, rank=rank: way(group, rank) if at == step else None,
                )  # fmt: skip
                tally.faults += 1
                # Once all is read back the first rank alone commits; it has, where another dies later.
                before = {1 if old else None}
                allowed = {"read back": before if rank == 0 else before | {2}, "publish": {2}}
                look(group, target, allowed.get(STEPS[step], before), range(RANKS) if step < len(STEPS) - 1 else ())
        return tally if only else tally.add(_refusals(Path(top), breaking))


def _strikes(short: bool) -> Iterator[tuple[Callable[[Group, int], None], int, int, bool]]:
    for old in (False, True) if not short else (True,):
        for step in range(len(STEPS)):
            for rank in (0, 2) if not short else (2,):
                for way in (kill, stall) if not short or step == 2 else (kill,):
                    yield way, step, rank, old


def refuse(breaking: Callable[[], None] = nothing) -> Tally:
    """Do the rows in which a rank, or the disk, refuses."""
    with tempfile.TemporaryDirectory(prefix="ranks-", dir=MEMORY) as top:
        return _refusals(Path(top), breaking)


def _refusals(top: Path, breaking: Callable[[], None]) -> Tally:
    """A rank without space, a disk that forgets, and a target that is taken: every rank raises, and says why."""
    tally = Tally()
    for rank in (0, 3):
        with _place(top / f"full-{rank}", tally, f"rank {rank} without space") as target:

            def fill() -> None:
                breaking()
                no_space()

            group = save_together(target, 2, within={**dict.fromkeys(range(RANKS), breaking), rank: fill})
            tally.faults += 1
            look(group, target, {None}, range(RANKS))
    with _place(top / "damaged", tally, "a part that changes before it is read back") as target:
        group = save_together(target, 2, within=dict.fromkeys(range(RANKS), breaking), strike=damage)
        tally.faults += 1
        look(group, target, {None}, range(RANKS))
    with _place(top / "taken", tally, "an occupied target") as target:
        save_together(target, 1)
        group = save_together(target, 2, within=dict.fromkeys(range(RANKS), breaking))
        tally.faults += 1
        look(group, target, {1}, range(RANKS))
    return tally


@contextlib.contextmanager
def _place(folder: Path, tally: Tally, what: str) -> Iterator[Path]:
    """Give a target in a folder of its own; what is wrong with it in the end is noted."""
    folder.mkdir()
    try:
        yield folder / "out"
    except AssertionError as e:
        tally.violations.append(f"{what}: {e}")
    tally.states += 1


def look(group: Group, target: Path, allowed: set[int | None], must_raise: Sequence[int]) -> None:
    """Raise `AssertionError` unless all that live have raised, the target is what it may be, and no more is left."""
    wrong = {rank: said for rank, said in group.said.items() if said == "hung" or said.startswith("traceback")}
    silent = [rank for rank in must_raise if rank not in group.struck and group.said.get(rank, "") in ("", "saved")]
    before = generation_of(target)
    cleaned = clean(target.parent)
    wake(group)
    after = generation_of(target)
    clean(target.parent)
    left = sorted(path.name for path in target.parent.iterdir() if path != target)
    if wrong or silent:
        raise AssertionError(f"did not raise: {silent}, or wrongly: {wrong}")
    if before not in allowed or after != before:
        may = sorted(map(str, allowed))
        raise AssertionError(f"generation {before}, later {after}, is at the target; {may} may be")
    if left or any(item.state == "kept" for item in cleaned):
        raise AssertionError(f"{left or cleaned} is left")


def nobody_is_told() -> None:
    """A rank that fails says that it did well."""
    exchange = Wire.exchange

    def well(self: Wire, message: bytes) -> list[bytes]:
        return exchange(self, message if b'"failed"' not in message else b'{"done": {}}')

    Wire.exchange = well


def wait_for_ever() -> None:
    """Nobody gives up on a rank that is silent."""
    exchange = Wire.exchange

    def patient(self: Wire, message: bytes) -> list[bytes]:
        self._end.settimeout(None)
        return exchange(self, message)

    Wire.exchange = patient


def slices_believed() -> None:
    """What is read back of the slices of others is held against nothing."""
    slices.Hasher.matches = lambda self: True


def target_taken() -> None:
    """What lies at the target is replaced, asked for or not."""
    occupant = Place.occupant
    Place.occupant = lambda self, *, overwrite: occupant(self, overwrite=True)


if __name__ == "__main__":
    found = strike_ranks(short="--short" in sys.argv)
    print(f"faults {found.faults}  states {found.states}  violations {len(found.violations)}")
    print("\n".join(found.violations))
