"""The same faults for other writers of checkpoints, side by side: `python -m tests.faults.peers`.

Needs the extra `bench`. A new checkpoint is saved, then one that is there is replaced; after each fault the old
one or the new one must load with the numbers it was given. An exception of any kind counts as an error that was
said; only what can be loaded afterwards is judged.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp

from ckptfmt.errors import CkptError
from ckptfmt.store.checkpoint import Checkpoint
from tests.faults.calls import CHANGING, KILL, faults_of
from tests.faults.parallel import MEMORY, in_parallel
from tests.faults.power import cut, make_image, mounted, power_works
from tests.faults.scenarios import generation, write
from tests.faults.trace import Call, run_fresh, run_traced

SHAPE = (192, 1024)
Save = Callable[[Path, int], None]
Load = Callable[[Path], "set[float] | None"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A writer: it saves a number into a path; it loads the numbers back, None where there is nothing."""

    name: str
    save: Save
    load: Load


def _tensors(number: int) -> dict[str, torch.Tensor]:
    return {"a": torch.full(SHAPE, float(number)), "b": torch.full((2, 2), float(number))}


def _numbers(tensors: Any) -> set[float]:
    return {float(value) for tensor in tensors.values() for value in tensor.unique()}


def _load_file(read: Callable[[Path], Any]) -> Load:
    return lambda path: _numbers(read(path)) if path.exists() else None


def _load_folder(name: str, read: Callable[[Path], Any]) -> Load:
    return lambda path: _numbers(read(path)) if (path / name).exists() else None


def _load_distributed(path: Path) -> set[float]:
    tensors = {name: torch.zeros_like(tensor) for name, tensor in _tensors(0).items()}
    dcp.load(tensors, checkpoint_id=str(path), no_dist=True)
    return _numbers(tensors)


def _save_to_hub_folder(path: Path, number: int) -> None:
    path.mkdir(exist_ok=True)
    huggingface_hub.save_torch_state_dict(_tensors(number), path)


def _load_ours(path: Path) -> set[float] | None:
    if (found := generation(path)) is None:
        return None
    with Checkpoint(path) as checkpoint:
        return {float(checkpoint.tensors["a"].max()), float(found)}


PEERS = (
    Peer("ckptfmt", lambda path, n: write(path, n, overwrite=True), _load_ours),
    Peer("torch.save", lambda path, n: torch.save(_tensors(n), path), _load_file(torch.load)),
    Peer(
        "safetensors save_file",
        lambda path, n: safetensors.torch.save_file(_tensors(n), path),
        _load_file(safetensors.torch.load_file),
    ),
    Peer(
        "torch.distributed.checkpoint",
        lambda path, n: dcp.save(_tensors(n), checkpoint_id=str(path), no_dist=True),
        lambda path: _load_distributed(path) if (path / ".metadata").exists() else None,
    ),
    Peer(
        "huggingface_hub",
        _save_to_hub_folder,
        _load_folder("model.safetensors", lambda path: safetensors.torch.load_file(path / "model.safetensors")),
    ),
)
KINDS = ("killed", "write fails", "write lies", "power cut", "power cut after success", "bit flipped")


def judge(peer: Peer, path: Path, code: int, *, before: bool) -> bool:
    """Return whether the old or the new one is there, the new one where success was said."""

    def look() -> None:
        numbers = peer.load(path)
        allowed: list[set[float] | None] = [{2.0}] if code == 0 else [{2.0}, {1.0} if before else None]
        if numbers not in allowed:
            sys.exit(f"{numbers}")

    return run_fresh(look).code == 0


def calls_of(peer: Peer, path: Path) -> list[Call]:
    """Return the calls of a save that change what is at the path."""
    run = run_traced(lambda: peer.save(path, 2))
    assert run.code == 0, run.said
    return [call for call in run.calls(str(path.parent)) if call.name in CHANGING]


def _strike(peer: Peer, call: Call, fault: str, before: bool) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory(prefix="peers-", dir=MEMORY) as top:
        path = Path(top) / "root" / "out"
        _prepare(peer, path, before)
        run = run_traced(lambda: peer.save(path, 2), [f"{call.name}:{fault}:when={call.nth}"])
        kind = "killed" if fault == KILL else "write lies" if fault.startswith("retval") else "write fails"
        return kind, judge(peer, path, run.code, before=before)


def _prepare(peer: Peer, path: Path, before: bool) -> None:
    path.parent.mkdir()
    if before:
        peer.save(path, 1)


def _cut(peer: Peer, image: Path, call: Call | None, before: bool) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory(prefix="peers-") as top:
        copy, disk = Path(top) / "image", Path(top) / "disk"
        shutil.copy(image, copy)
        with mounted(copy, disk):
            path = disk / "root" / "out"
            kill = [f"{call.name}:{KILL}:when={call.nth}"] if call else []
            run = run_traced(lambda: peer.save(path, 2), kill)
            cut(disk)
        with mounted(copy, disk):
            return "power cut" if call else "power cut after success", judge(peer, path, run.code, before=before)


def _flip(peer: Peer, byte: int) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory(prefix="peers-", dir=MEMORY) as top:
        path = Path(top) / "out"
        peer.save(path, 2)
        file = max([path, *path.rglob("*")], key=lambda one: one.stat().st_size if one.is_file() else 0)
        data = bytearray(file.read_bytes())
        data[byte % len(data)] ^= 1
        file.write_bytes(data)

        def look() -> None:
            try:
                numbers = peer.load(path)
            except CkptError:
                return
            sys.exit(f"loads {numbers}")

        run = run_fresh(look)
        return "bit flipped", run.code == 0 or "loads" not in run.said


def look_at(peer: Peer) -> dict[str, list[bool]]:
    """Return for each kind of fault how each try went: True where the promise held."""
    found: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for before in (False, True):
        with tempfile.TemporaryDirectory(prefix="peers-", dir=MEMORY) as top:
            path = Path(top) / "root" / "out"
            _prepare(peer, path, before)
            calls = calls_of(peer, path)
        jobs = [(peer, call, fault, before) for call in calls for fault in faults_of(call, short=False)]
        results = in_parallel(_strike, jobs)
        if not power_works():
            results += _cut_all(peer, before)
        for kind, good in results:
            found[kind].append(good)
    for kind, good in in_parallel(_flip, [(peer, byte) for byte in range(50, 780_000, 7919)]):
        found[kind].append(good)
    return found


def _cut_all(peer: Peer, before: bool) -> list[tuple[str, bool]]:
    with tempfile.TemporaryDirectory(prefix="peers-") as top:
        image, disk = Path(top) / "image", Path(top) / "disk"
        make_image(image)
        with mounted(image, disk):
            _prepare(peer, disk / "root" / "out", before)
            os.sync()
        shutil.copy(image, Path(top) / "copy")
        with mounted(Path(top) / "copy", disk):
            calls = calls_of(peer, disk / "root" / "out")
        return in_parallel(_cut, [(peer, image, call, before) for call in [*calls, None]])


def main() -> None:
    """Print the table, broken promises of tries."""
    torch.set_num_threads(1)
    print("| writer | " + " | ".join(KINDS) + " |\n|---|" + "---|" * len(KINDS), flush=True)
    for peer in PEERS:
        found = look_at(peer)
        cells = [f"{sum(not good for good in found[kind])} of {len(found[kind])}" for kind in KINDS]
        print(f"| {peer.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
